//! Builds the shim as a static executable and leaves it in OUT_DIR, where the library embeds it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?).join("coble-shim");
    println!("cargo::rerun-if-env-changed=COBLE_SHIM_BINARY");
    for part in ["shim", "layer", "protocol"] {
        println!("cargo::rerun-if-changed={}", manifest_dir.join(part).join("src").display());
        println!("cargo::rerun-if-changed={}", manifest_dir.join(part).join("Cargo.toml").display());
    }
    let built = match env::var_os("COBLE_SHIM_BINARY") {
        Some(path) => PathBuf::from(path),
        None => build(&manifest_dir)?,
    };
    std::fs::copy(&built, &out).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

/// Runs cargo for the shim. It has a target directory of its own, since the outer cargo holds the lock of the usual one.
fn build(manifest_dir: &Path) -> Outcome<PathBuf> {
    let target = env::var("TARGET")?;
    let target_dir = shared_target_dir(&PathBuf::from(env::var("OUT_DIR")?)).join("shim-build");
    let mut cargo = Command::new(env::var_os("CARGO").ok_or("CARGO is not set")?);
    cargo
        .args(["build", "--quiet", "--profile", "shim", "--target", &target, "--manifest-path"])
        .arg(manifest_dir.join("shim/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    // What cargo sets for the outer build must not reach the inner one: flags, wrappers such as clippy's, and features.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let inherited =
            ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTC", "CLIPPY_ARGS"];
        if inherited.contains(&name.as_str())
            || name.starts_with("CARGO_FEATURE_")
            || name.starts_with("CARGO_CFG_")
            || name.starts_with("CARGO_PROFILE_")
        {
            cargo.env_remove(name);
        }
    }
    if !cargo.status()?.success() {
        return Err("building the shim failed".into());
    }
    Ok(target_dir.join(target).join("shim").join("coble-shim"))
}

/// The target directory that OUT_DIR is in, so that every profile and feature set shares one build of the shim.
fn shared_target_dir(out_dir: &Path) -> PathBuf {
    // <target>/<profile>/build/<package>/out
    out_dir.ancestors().nth(4).unwrap_or(out_dir).to_path_buf()
}
