//! Bulkheads: how much of a node's room one tool, and one workspace, may take.
//!
//! A tool that answers slowly fills its own part and no more, so that there is always room for the
//! others. (M. Nygard, *Release It!*, 2007.)

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use toolroom_domain::{ToolId, WorkspaceId};

/// The part of a room that one tool may take: half, so that even two slow ones leave room.
const TOOL_PART: f64 = 0.5;

/// The part that one workspace may take with all its tools.
const WORKSPACE_PART: f64 = 0.75;

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The tool has its part.
    Tool,
    /// The workspace has its part.
    Workspace,
}

#[derive(Debug, Default)]
struct Taken {
    tools: HashMap<ToolId, usize>,
    workspaces: HashMap<WorkspaceId, usize>,
}

/// A node's room for calls of one ground: those whose sender waits, or those in the background.
#[derive(Debug)]
pub struct Room {
    of_tool: usize,
    of_workspace: usize,
    taken: Mutex<Taken>,
}

/// A call's place, given up when dropped.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    workspace: WorkspaceId,
    tool: ToolId,
}

fn part(room: usize, part: f64) -> usize {
    // Of at most 100,000, rounded up: at least one.
    ((room as f64 * part).ceil() as usize).max(1)
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Room {
    /// Room for so many calls.
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            of_tool: part(size, TOOL_PART),
            of_workspace: part(size, WORKSPACE_PART),
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When the tool or the workspace has its part already.
    pub fn place(self: &Arc<Self>, workspace: WorkspaceId, tool: ToolId) -> Result<Place, Full> {
        let mut taken = self.taken();
        let of_tool = taken.tools.get(&tool).copied().unwrap_or(0);
        let of_workspace = taken.workspaces.get(&workspace).copied().unwrap_or(0);
        if of_tool >= self.of_tool {
            return Err(Full::Tool);
        }
        if of_workspace >= self.of_workspace {
            return Err(Full::Workspace);
        }
        taken.tools.insert(tool, of_tool + 1);
        taken.workspaces.insert(workspace, of_workspace + 1);
        drop(taken);
        Ok(Place {
            room: Arc::clone(self),
            workspace,
            tool,
        })
    }

    /// For how many more calls there is room, of the tools that have taken some.
    pub fn free(&self) -> Vec<(ToolId, usize)> {
        let taken = self.taken();
        let free = |(tool, count): (&ToolId, &usize)| (*tool, self.of_tool.saturating_sub(*count));
        taken.tools.iter().map(free).collect()
    }

    /// The workspaces that have their part.
    pub fn full_workspaces(&self) -> Vec<WorkspaceId> {
        let taken = self.taken();
        let full = taken.workspaces.iter();
        full.filter(|(_, count)| **count >= self.of_workspace)
            .map(|(workspace, _)| *workspace)
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        give_back(&mut taken.tools, &self.tool);
        give_back(&mut taken.workspaces, &self.workspace);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn workspace(n: u128) -> WorkspaceId {
        WorkspaceId::from_uuid(Uuid::from_u128(n))
    }

    fn tool(n: u128) -> ToolId {
        ToolId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn a_tool_takes_half_of_the_room_and_leaves_the_rest_to_others() {
        let room = Room::new(8);
        let slow: Vec<_> = (0..4)
            .map(|_| room.place(workspace(1), tool(1)).unwrap())
            .collect();
        assert_eq!(room.place(workspace(1), tool(1)).unwrap_err(), Full::Tool);
        assert_eq!(room.free(), [(tool(1), 0)]);
        let other = room.place(workspace(1), tool(2)).unwrap();
        drop(slow);
        assert_eq!(room.free(), [(tool(2), 3)]);
        drop(other);
        assert!(room.free().is_empty());
    }

    #[test]
    fn a_workspace_takes_three_quarters_however_many_tools_it_has() {
        let room = Room::new(8);
        let many: Vec<_> = (0..6)
            .map(|n| room.place(workspace(1), tool(n)).unwrap())
            .collect();
        assert_eq!(room.full_workspaces(), [workspace(1)]);
        assert_eq!(
            room.place(workspace(1), tool(9)).unwrap_err(),
            Full::Workspace
        );
        assert!(room.place(workspace(2), tool(10)).is_ok());
        drop(many);
        assert!(room.full_workspaces().is_empty());
    }

    #[test]
    fn the_smallest_room_has_room_for_one() {
        let room = Room::new(1);
        let place = room.place(workspace(1), tool(1)).unwrap();
        assert!(room.place(workspace(1), tool(1)).is_err());
        drop(place);
        assert!(room.place(workspace(1), tool(1)).is_ok());
    }
}
