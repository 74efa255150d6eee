//! What must happen between fork and exec, and nowhere else: the one place with `unsafe`.
#![allow(unsafe_code)]

use std::{io, os::fd::OwnedFd, os::unix::process::CommandExt, process::Command};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{getpid, getppid},
};

/// Lets the child inherit the descriptors under their own numbers, and, with a signal, has the
/// kernel send it that signal when the *thread* that spawns it ends. Both happen after the child
/// has dropped its rights, since changing the user id clears the signal.
pub(super) fn prepare(
    command: &mut Command,
    inherited: Vec<OwnedFd>,
    on_parent_death: Option<Signal>,
) {
    let parent = getpid();
    let hook = move || -> io::Result<()> {
        if let Some(signal) = on_parent_death {
            set_pdeathsig(signal)?;
            // The parent may have died before the kernel knew of our wish.
            if getppid() != parent {
                return Err(Errno::ESRCH.into());
            }
        }
        for descriptor in &inherited {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: the hook runs in the forked child, where only async-signal-safe work is sound: it
    // makes the system calls prctl, getppid and fcntl, allocates nothing and takes no lock (an
    // error made from an errno holds just that number).
    unsafe { command.pre_exec(hook) };
}
