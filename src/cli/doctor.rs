//! `toolroom doctor`: look for faults of the set-up, and say how to mend each.

mod database;
mod machine;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use super::output;
use crate::{
    config::Config,
    database::{Access, Missing},
};

/// What one look found.
struct Finding {
    about: &'static str,
    words: String,
    mend: Option<String>,
}

/// All that was found, in the order of looking.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, about: &'static str, words: impl Display) {
        self.0.push(Finding {
            about,
            words: words.to_string(),
            mend: None,
        });
    }

    fn fault(&mut self, about: &'static str, words: impl Display, mend: impl Display) {
        self.0.push(Finding {
            about,
            words: words.to_string(),
            mend: Some(mend.to_string()),
        });
    }
}

/// Exits with 1 when anything is to be mended.
///
/// # Errors
/// When nothing can be printed.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let mut findings = Findings::default();
    machine::look(config, &mut findings).await;
    match Access::open(config, Missing::Refuse).await {
        Ok(access) => {
            database::look(config, &access, &mut findings).await;
            access.close().await?;
        }
        Err(error)
            if config.database_url.is_none() && !config.data_dir.join("postgres").exists() =>
        {
            findings.good(
                "database",
                format_args!("none yet ({error}); the first start makes it"),
            );
        }
        Err(error) => findings.fault(
            "database",
            format_args!("{error:#}"),
            "the message says what is missing",
        ),
    }
    let mut out = output::standard();
    let mut faults = 0;
    for Finding { about, words, mend } in &findings.0 {
        match mend {
            None => writeln!(out, "ok     {about}: {words}")?,
            Some(mend) => {
                faults += 1;
                writeln!(out, "FAULT  {about}: {words}\n       mend: {mend}")?;
            }
        }
    }
    match faults {
        0 => writeln!(out, "nothing to mend")?,
        1 => writeln!(out, "1 fault")?,
        many => writeln!(out, "{many} faults")?,
    }
    out.flush()?;
    Ok(if faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
