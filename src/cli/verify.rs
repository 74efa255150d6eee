//! `toolroom verify`: prove that the log, or an exported file, is what was written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use toolroom_eventlog::{
    export,
    verify::{self, Anchor},
};

use super::output;
use crate::{
    config::Config,
    database::{Access, Missing},
};

/// Exit code where nothing could be proven either way.
const NOT_CHECKED: u8 = 2;

#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// An exported file to check, without any database; `-` for standard input.
    file: Option<PathBuf>,
    /// A link noted earlier, against which a cut tail shows.
    #[arg(long, value_name = "POSITION:HASH", value_parser = anchor)]
    expect: Option<Anchor>,
}

fn anchor(text: &str) -> Result<Anchor, String> {
    let parsed = text.split_once(':').and_then(|(position, hash)| {
        let hash_is_sound = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Anchor {
            position: position.parse().ok().filter(|p| *p >= 0)?,
            hash: hash_is_sound.then(|| hash.to_owned())?,
        })
    });
    parsed.ok_or_else(|| {
        "expected a position, a colon and 64 hexadecimal digits, as `toolroom verify` prints them"
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

async fn check_log(config: &Config, expect: Option<&Anchor>) -> anyhow::Result<Finding> {
    let access = Access::open(config, Missing::Refuse).await?;
    let pool = access.pool().await?;
    let checked = verify::verify(&pool, expect, output::progress("verified up to position")).await;
    output::progress_done();
    pool.close().await;
    access.close().await?;
    match checked {
        Ok(report) => {
            let mut words = format!(
                "sound: {} events, head {}:{}",
                report.events, report.events, report.head
            );
            if report.unsequenced > 0 {
                words += &format!(", {} not yet in the log", report.unsequenced);
            }
            Ok(Ok(words))
        }
        Err(verify::Error::Broken { position, what }) => {
            Ok(Err(format!("position {position}: {what}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn check_file(file: &Path, expect: Option<&Anchor>) -> anyhow::Result<Finding> {
    let mut input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened =
            File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        Box::new(BufReader::new(opened))
    };
    match export::verify(&mut input, expect) {
        Ok(report) => Ok(Ok(format!(
            "sound: positions {} to {}, {} events and {} digests, head {}:{}",
            report.from, report.to, report.events, report.digests, report.to, report.head
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
    fn an_anchor_is_what_verify_prints() {
        let hash = "0f".repeat(32);
        assert_eq!(anchor(&format!("12:{hash}")).unwrap().position, 12);
        for bad in [
            "12",
            ":",
            "x:00",
            &format!("-1:{hash}"),
            &format!("12:{hash}0"),
            &format!("12:z{}", &hash[1..]),
        ] {
            assert!(anchor(bad).is_err(), "{bad}");
        }
    }
}
