//! On what was measured, with what, and when.

use std::fs;
use std::process::Command;

use anyhow::Context as _;
use toolroom_domain::Clock as _;
use toolroom_eventlog::{SystemClock, embedded};

use crate::config::Config;

const KIB_PER_GIB: f64 = 1024.0 * 1024.0;
const KIB_PER_MIB: f64 = 1024.0;

/// What the kernel says of a process's memory, in MiB: `VmRSS` now, `VmHWM` at its peak.
///
/// # Errors
/// When the process does not run any more.
pub fn memory_mib(process: u32, measure: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let size = field(&status, measure);
    let kib = size.as_deref().and_then(|text| text.strip_suffix(" kB"));
    let kib: f64 = kib
        .with_context(|| format!("the kernel tells no {measure}"))?
        .parse()?;
    Ok(kib / KIB_PER_MIB)
}

/// One paragraph about the machine, the programs, and what else ran when it was written.
///
/// # Errors
/// When PostgreSQL's programs are not found.
pub fn describe(config: &Config) -> anyhow::Result<String> {
    // First of all, before anything here adds to it.
    let load = read("/proc/loadavg");
    let load: Vec<_> = load.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok())
        .unwrap_or(f64::NAN);
    let build = if cfg!(debug_assertions) {
        "**a debug build, many times slower than a release build**"
    } else {
        "release build"
    };
    Ok(format!(
        "{cores} cores ({processor}), {memory:.1} GiB of memory, Linux {kernel}, {postgres}, \
         toolroom {version}, {build}; {now:.0}, load average {load}.",
        processor = processor.as_deref().unwrap_or(std::env::consts::ARCH),
        memory = memory / KIB_PER_GIB,
        kernel = read("/proc/sys/kernel/osrelease"),
        postgres = postgres(config)?,
        version = env!("SERVER_VERSION"),
        now = SystemClock.now(),
        load = load.join(" "),
    ))
}

fn postgres(config: &Config) -> anyhow::Result<String> {
    let program = embedded::find_binaries(config.pg_bin.as_deref())?.join("postgres");
    let output = Command::new(&program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} cannot be run", program.display()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let version = answer.split("(PostgreSQL) ").nth(1).unwrap_or("").trim();
    Ok(format!("PostgreSQL {version}"))
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// The value behind `name:` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}
