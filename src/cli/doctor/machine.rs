//! What can be seen without the database.

use std::net::TcpListener;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use toolroom_api::http::Tls;
use toolroom_eventlog::embedded;

use super::Findings;
use crate::{
    config::{Config, MasterKeySource},
    master_key,
};

/// PostgreSQL stops on a full disk; its write-ahead log alone may take 2 GiB.
const DISK_NEEDED_BYTES: u64 = 4 * 1024 * 1024 * 1024;

const GIB: u64 = 1024 * 1024 * 1024;

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    findings.good("configuration", "read; `toolroom config print` shows it");
    listen(config, findings);
    tls(config, findings);
    if config.database_url.is_none() {
        match embedded::find_binaries(config.pg_bin.as_deref()) {
            Ok(folder) => findings.good("PostgreSQL programs", folder.display()),
            Err(error) => findings.fault(
                "PostgreSQL programs",
                error,
                "install PostgreSQL 15 or newer, or set TOOLROOM_PG_BIN or DATABASE_URL",
            ),
        }
        disk(&config.data_dir, findings);
    }
    key(config, findings).await;
}

fn tls(config: &Config, findings: &mut Findings) {
    let Some(files) = &config.edge.tls else {
        return;
    };
    match Tls::load(&files.certificate, &files.key) {
        Ok(_) => findings.good("TLS", files.certificate.display()),
        Err(error) => findings.fault(
            "TLS",
            error,
            "set `tls.certificate` and `tls.key` to a certificate and its own key",
        ),
    }
}

fn listen(config: &Config, findings: &mut Findings) {
    for address in &config.listen {
        if !address.ip().is_loopback() {
            findings.fault(
                "listen",
                format_args!(
                    "{address} is reached by other machines, and nobody is asked who they are"
                ),
                "listen on 127.0.0.1 or [::1]; let others in through a proxy that knows them",
            );
            continue;
        }
        match TcpListener::bind(address) {
            Ok(_) => findings.good("listen", format_args!("{address} is free")),
            // A server that runs is the likeliest holder, and no fault.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                findings.good(
                    "listen",
                    format_args!("{address} is taken, by a running server perhaps"),
                );
            }
            Err(error) => findings.fault(
                "listen",
                format_args!("{address}: {error}"),
                "choose another address with --listen",
            ),
        }
    }
}

fn disk(folder: &Path, findings: &mut Findings) {
    let there = folder
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("."));
    match statvfs(there) {
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let words = format!("{} GiB free for {}", free / GIB, folder.display());
            if free < DISK_NEEDED_BYTES {
                findings.fault(
                    "disk",
                    words,
                    format_args!(
                        "make room: at least {} GiB are needed",
                        DISK_NEEDED_BYTES / GIB
                    ),
                );
            } else {
                findings.good("disk", words);
            }
        }
        Err(error) => findings.fault(
            "disk",
            format_args!("{}: {error}", there.display()),
            "choose a folder on a disk of this machine with --data-dir",
        ),
    }
}

async fn key(config: &Config, findings: &mut Findings) {
    let from = match &config.master_key {
        MasterKeySource::Text(_) => "in the configuration".to_owned(),
        MasterKeySource::File(path) => path.display().to_string(),
        MasterKeySource::Command(command) => format!("printed by `{}`", command.program),
    };
    match master_key::find(&config.master_key).await {
        Ok(Some(_)) => findings.good("master key", from),
        // Whether that is a fault the database knows.
        Ok(None) => findings.good("master key", format_args!("none yet at {from}")),
        Err(error) => findings.fault(
            "master key",
            error,
            "the message says what is wrong with it",
        ),
    }
}
