//! What the machine has left.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sysinfo::{Disks, MINIMUM_CPU_UPDATE_INTERVAL, System};
use tokio::time::Instant;

/// How the machine is used, in percent; none where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostReadings {
    /// Of all processors, since the reading before.
    pub cpu: Option<f64>,
    /// Of the memory.
    pub memory: Option<f64>,
    /// Of the disk that holds the data folder.
    pub disk: Option<f64>,
}

/// Reads how the machine is used.
pub(crate) struct Host {
    data_dir: PathBuf,
    last: Mutex<Last>,
}

struct Last {
    system: Option<System>,
    readings: Option<(Instant, HostReadings)>,
}

impl Host {
    pub(crate) fn new(data_dir: &Path) -> Self {
        let mut system = System::new().ok();
        // Processors are measured between two looks: this is the first.
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self {
            data_dir: std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()),
            last: Mutex::new(Last {
                system,
                readings: None,
            }),
        }
    }

    /// How the machine is used now, or was a moment ago. Blocks for a millisecond or so.
    pub(crate) fn read(&self) -> HostReadings {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, readings)) = last.readings
            && at.elapsed() < MINIMUM_CPU_UPDATE_INTERVAL
        {
            return readings;
        }
        let mut readings = HostReadings {
            disk: self.disk(),
            ..HostReadings::default()
        };
        if let Some(system) = &mut last.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
            readings.cpu = Some(tenths(f64::from(system.global_cpu_usage())));
            readings.memory = percent(system.used_memory(), system.total_memory());
        }
        last.readings = Some((Instant::now(), readings));
        readings
    }

    fn disk(&self) -> Option<f64> {
        let disks = Disks::new_with_refreshed_list().ok()?;
        let holding = disks
            .iter()
            .filter(|disk| self.data_dir.starts_with(disk.mount_point()))
            .max_by_key(|disk| disk.mount_point().components().count())?;
        let used = holding
            .total_space()
            .saturating_sub(holding.available_space());
        percent(used, holding.total_space())
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a percentage needs fewer digits"
)]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| tenths(part as f64 * 100.0 / whole as f64))
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_percentages_of_this_machine() {
        let readings = Host::new(Path::new(".")).read();
        for value in [readings.cpu, readings.memory] {
            let value = value.unwrap();
            assert!((0.0..=100.0).contains(&value), "{readings:?}");
        }
        assert!(readings.memory > Some(0.0));
    }
}
