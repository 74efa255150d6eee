//! `toolroom verify`: prove that the log, or an exported file, is what was written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use sqlx::PgPool;
use toolroom_eventlog::{
    Feed, Position, Vault, export,
    verify::{self, Anchor},
    verify_blobs,
};

use super::output;
use crate::{
    config::Config,
    database::{Access, Missing},
    master_key,
};

/// Exit code where nothing could be proven either way.
const NOT_CHECKED: u8 = 2;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// An exported file to check, without any database; `-` for standard input.
    file: Option<PathBuf>,
    /// A link noted earlier, against which a cut tail shows.
    #[arg(long, value_name = "POSITION:HASH", value_parser = noted)]
    expect: Option<Noted>,
}

/// A head that was noted earlier, as `toolroom verify` or `logHead` told it.
#[derive(Clone, Debug)]
struct Noted {
    position: Position,
    hash: String,
}

impl Noted {
    /// The chain goes on over a recovery, so its links are counted without epochs.
    fn anchor(&self) -> Anchor {
        Anchor {
            position: self.position.dense(),
            hash: self.hash.clone(),
        }
    }
}

fn noted(text: &str) -> Result<Noted, String> {
    let parsed = text.split_once(':').and_then(|(position, hash)| {
        let hash_is_sound = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Noted {
            position: position.parse().ok()?,
            hash: hash_is_sound.then(|| hash.to_owned())?,
        })
    });
    parsed.ok_or_else(|| {
        "expected a position, a colon and 64 hexadecimal digits, as `toolroom verify` and `logHead` tell them"
            .to_owned()
    })
}

/// Exits with 0 when all is sound, 1 when it is not (the first bad place is printed), 2 when it
/// could not be checked.
///
/// # Errors
/// When nothing can be printed.
pub async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let checked = match &arguments.file {
        Some(file) => check_file(file, arguments.expect.as_ref()),
        None => check_log(config, arguments.expect.as_ref()).await,
    };
    match checked {
        Ok(Ok(sound)) => {
            writeln!(io::stdout(), "{sound}")?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(unsound)) => {
            output::say(format_args!("not sound: {unsound}"));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            output::say(format_args!("could not be checked: {error:#}"));
            Ok(ExitCode::from(NOT_CHECKED))
        }
    }
}

/// What a check found: words for a sound log, words for one that is not.
type Finding = Result<String, String>;

async fn check_log(config: &Config, expect: Option<&Noted>) -> anyhow::Result<Finding> {
    let access = Access::open(config, Missing::Refuse).await?;
    let pool = access.pool().await?;
    let checked = match prove(&pool, expect).await {
        Ok(Ok(sound)) => prove_values(config, &pool, sound).await,
        unsound => unsound,
    };
    pool.close().await;
    access.close().await?;
    checked
}

async fn prove(pool: &PgPool, expect: Option<&Noted>) -> anyhow::Result<Finding> {
    let epoch = Feed::new(pool.clone()).head().await?.epoch;
    let noted_in = expect.map(|noted| noted.position.epoch());
    if let (Some(noted), Some(later)) = (expect, noted_in.filter(|noted_in| *noted_in > epoch)) {
        return Ok(Err(format!(
            "position {} was noted in log epoch {later}, the log is at epoch {epoch}: this is another log, or an older copy of it",
            noted.position
        )));
    }
    let anchor = expect.map(Noted::anchor);
    let progress = output::progress("verified up to event");
    let checked = verify::verify(pool, anchor.as_ref(), progress).await;
    output::progress_done();
    let older = expect.filter(|noted| noted.position.epoch() < epoch);
    match checked {
        Ok(report) => {
            let head = Position::new(report.epoch, report.events);
            let mut words = format!(
                "sound: {} events, head {head}:{}",
                report.events, report.head
            );
            if report.unsequenced > 0 {
                words += &format!(", {} not yet in the log", report.unsequenced);
            }
            if let Some(noted) = older {
                output::say(of_older_epoch(noted, epoch, "and still holds"));
            }
            Ok(Ok(words))
        }
        Err(verify::Error::Broken { position, what }) => {
            let mut words = format!("position {}: {what}", Position::new(epoch, position));
            if let Some(noted) = older {
                words += "; ";
                words += &of_older_epoch(
                    noted,
                    epoch,
                    "and what was appended after the backup or copy that it began with is lost",
                );
            }
            Ok(Err(words))
        }
        Err(error) => Err(error.into()),
    }
}

/// Proves what lies outside the log: that it is there, and with the master key that it is what its
/// name says.
async fn prove_values(config: &Config, pool: &PgPool, sound: String) -> anyhow::Result<Finding> {
    let head = Feed::new(pool.clone()).head().await?.position;
    let progress = output::progress("looked for large values up to event");
    let there = verify_blobs::all_there(pool, head, progress).await;
    output::progress_done();
    let checked = match (there, master_key::known(config).await?) {
        (Err(error), _) => Err(error),
        (Ok(()), None) => {
            if verify_blobs::any(pool).await? {
                output::say(
                    "the large values are there; without the master key they were not opened",
                );
            }
            return Ok(Ok(sound));
        }
        (Ok(()), Some(key)) => verify_blobs::all_open(pool, &Vault::new(pool.clone(), key)).await,
    };
    match checked {
        Ok(found) if found.blobs == 0 => Ok(Ok(sound)),
        Ok(found) => Ok(Ok(format!(
            "{sound}; {} large values, {} bytes",
            found.blobs, found.bytes
        ))),
        Err(verify_blobs::Error::Broken(what)) => Ok(Err(what)),
        Err(error) => Err(error.into()),
    }
}

fn of_older_epoch(noted: &Noted, epoch: i32, so: &str) -> String {
    format!(
        "the expected position {} is of log epoch {}, before the recovery that began epoch {epoch}, {so}",
        noted.position,
        noted.position.epoch()
    )
}

fn check_file(file: &Path, expect: Option<&Noted>) -> anyhow::Result<Finding> {
    let mut input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened =
            File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Box::new(BufReader::new(opened))
    };
    let anchor = expect.map(Noted::anchor);
    match export::verify(&mut input, anchor.as_ref()) {
        Ok(report) => Ok(Ok(format!(
            "sound: positions {} to {}, {} events, {} digests and {} large values, head {}:{}",
            report.from,
            report.to,
            report.events,
            report.digests,
            report.blobs,
            report.to,
            report.head
        ))),
        Err(export::Error::Broken { line, what }) => {
            Ok(Err(format!("{}, line {line}: {what}", file.display())))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_is_what_verify_prints() {
        let hash = "0f".repeat(32);
        let of = |position: &str| noted(&format!("{position}:{hash}")).unwrap();
        assert_eq!(of("12").position, Position::new(0, 12));
        let later = of("1000000000000012");
        assert_eq!(later.position, Position::new(1, 12));
        assert_eq!(later.anchor().position, 12);
        for bad in [
            "12",
            ":",
            "x:00",
            &format!("-1:{hash}"),
            &format!("12:{hash}0"),
            &format!("12:z{}", &hash[1..]),
        ] {
            assert!(noted(bad).is_err(), "{bad}");
        }
    }
}
