//! Puts the files of `connectors/` into the program: a new file there needs no line of Rust.

use std::{env, error::Error, fmt::Write, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../connectors");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path().canonicalize()?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let mut source = "&[\n".to_owned();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(source, "({name:?}, include_str!({file:?})),")?;
    }
    source.push_str("]\n");
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("connectors.rs"),
        source,
    )?;
    Ok(())
}
