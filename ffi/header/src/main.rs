//! Writes `include/coble/coble.h`, the list of exported symbols and the list of what linked programs depend on from the sources of the C interface, or checks that they are as committed.
//! A tool of the build: it is in no library.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr)]

mod abi;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The sections of the header, in order.
const SECTIONS: &[&str] = &[
    "version",
    "status",
    "error",
    "string",
    "cancel",
    "credentials",
    "registry_options",
    "engine",
    "import",
    "image",
    "image_store",
    "progress",
    "pull",
    "push",
    "search",
    "lock",
    "registry",
    "spec",
    "mounts",
    "policy",
    "stdio",
    "isolation",
    "run",
    "exec",
    "container",
    "commit",
    "files",
    "details",
    "volume",
    "lifecycle",
    "ready",
    "stats",
    "process",
    "attach",
    "log",
    "events",
];

fn main() -> ExitCode {
    match work(std::env::args().nth(1).as_deref() == Some("--check")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("coble-header: {message}");
            ExitCode::FAILURE
        }
    }
}

fn work(check: bool) -> Result<(), String> {
    let ffi = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent directory")?.to_path_buf();
    let header = header(&ffi)?;
    undocumented(&header)?;
    let symbols = symbols(&header);
    let root = ffi.parent().ok_or("no parent directory")?;
    let abi = ffi.join("coble.abi");
    let grown = abi::grown(&std::fs::read_to_string(&abi).unwrap_or_default(), &header)?;
    for (path, content) in
        [(root.join("include/coble/coble.h"), header), (ffi.join("coble.symbols"), symbols), (abi, grown)]
    {
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old == content {
            continue;
        }
        if check {
            return Err(format!("{} is not up to date: run \"make header\"", path.display()));
        }
        std::fs::write(&path, content).map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn header(ffi: &Path) -> Result<String, String> {
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|error| format!("read {}: {error}", path.display()))
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split('.');
    let mut part = || parts.next().unwrap_or("0");
    let (major, minor, patch) = (part(), part(), part());
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(format!(
            "/* Generated from ffi/src by \"make header\". Do not edit. */\n\n{}",
            read(ffi.join("src/umbrella.h"))?.trim_end()
        )),
        include_guard: Some("COBLE_COBLE_H".to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        after_includes: Some(format!(
            "\n/** The version of this header, as text. */\n#define COBLE_VERSION \"{version}\"\n\
             /** The version of this header: major. */\n#define COBLE_VERSION_MAJOR {major}\n\
             /** The version of this header: minor. */\n#define COBLE_VERSION_MINOR {minor}\n\
             /** The version of this header: patch. */\n#define COBLE_VERSION_PATCH {patch}"
        )),
        cpp_compat: true,
        style: cbindgen::Style::Type,
        usize_is_size_t: true,
        documentation: true,
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        line_length: 110,
        ..Default::default()
    };
    let mut builder = cbindgen::Builder::new().with_config(config);
    for section in SECTIONS {
        builder = builder.with_src(ffi.join("src").join(format!("{section}.rs")));
    }
    let mut out = Vec::new();
    builder.generate().map_err(|error| error.to_string())?.write(&mut out);
    String::from_utf8(out).map_err(|error| error.to_string())
}

/// Fails on an item without a comment: what a reader of the header sees first has to be said.
fn undocumented(header: &str) -> Result<(), String> {
    let lines: Vec<&str> = header.lines().collect();
    let body = lines.iter().position(|line| line.contains("COBLE_VERSION ")).unwrap_or(0);
    for (index, line) in lines.iter().enumerate().skip(body) {
        let starts_item = [
            "#define COBLE_",
            "typedef ",
            "coble_",
            "void coble_",
            "const ",
            "struct coble_",
            "uint",
            "int",
            "size_t ",
        ]
        .iter()
        .any(|prefix| line.starts_with(prefix))
            && !line.starts_with("typedef struct coble_") | !line.ends_with('{') & line.contains('(');
        let previous = lines.get(index.wrapping_sub(1)).map_or("", |line| line.trim_end());
        if starts_item && !previous.ends_with("*/") {
            return Err(format!("line {} has no comment: {line}", index + 1));
        }
    }
    Ok(())
}

/// The functions of the header, sorted, one a line: the allow-list for the exported symbols.
fn symbols(header: &str) -> String {
    let mut names: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with([' ', '*', '/', '#']) && line.contains('('))
        .filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("coble_"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join("\n") + "\n"
}
