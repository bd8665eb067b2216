//! Images made in memory, of programs of this machine. The layout is what programs expect who were not told that they
//! are in a container: `/tmp` for all, users with names, `/data` to work in.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// What a registry hands out, and what an engine loads.
#[derive(Debug)]
pub(crate) struct Image {
    /// A tar, not compressed.
    pub(crate) layer: Vec<u8>,
    pub(crate) config: Vec<u8>,
}

impl Image {
    /// `settings` are the image's defaults for its containers, as `docker inspect` shows them below `Config`.
    pub(crate) fn new(root: Root, mut settings: Value) -> Result<Self> {
        let layer = root.0.into_inner()?;
        settings["Env"] = json!(["PATH=/bin"]);
        settings["WorkingDir"] = json!("/data");
        let config = json!({
            "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": settings,
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)?] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "tests of heldport" }],
        });
        Ok(Self { layer, config: serde_json::to_vec(&config)? })
    }

    /// What `docker load` takes, under one name.
    pub(crate) fn archive(&self, name: &str) -> Result<Vec<u8>> {
        let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
        let mut archive = Root(Builder::new(Vec::new()), BTreeSet::new());
        archive.file("manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
        archive.file("config.json", 0o644, &self.config)?;
        archive.file("layer.tar", 0o644, &self.layer)?;
        Ok(archive.0.into_inner()?)
    }
}

/// A file system. The same programs make the same bytes: times are left out.
pub(crate) struct Root(Builder<Vec<u8>>, BTreeSet<PathBuf>);

impl Root {
    /// With everything but programs.
    pub(crate) fn new() -> Result<Self> {
        let mut root = Self(Builder::new(Vec::new()), BTreeSet::new());
        root.dir("tmp", 0o1777)?;
        root.dir("data", 0o1777)?;
        root.dir("var/run", 0o755)?;
        let users = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
        root.file("etc/passwd", 0o644, users.as_bytes())?;
        root.file("etc/group", 0o644, b"root:x:0:\nnobody:x:65534:\n")?;
        Ok(root)
    }

    fn entry(&mut self, kind: EntryType, path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
        // Those that nobody names would be the superuser's alone.
        let parent = path.parent().context("below the root")?;
        if !parent.as_os_str().is_empty() && !self.1.contains(parent) {
            self.dir(parent, 0o755)?;
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(contents.len() as u64);
        Ok(self.0.append_data(&mut header, path, contents)?)
    }

    fn dir(&mut self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        self.entry(EntryType::Directory, path.as_ref(), mode, &[])?;
        self.1.insert(path.as_ref().to_owned());
        Ok(())
    }

    pub(crate) fn file(&mut self, path: impl AsRef<Path>, mode: u32, contents: &[u8]) -> Result<()> {
        self.entry(EntryType::Regular, path.as_ref(), mode, contents)
    }

    /// A program in `/bin`, and the libraries that it loads where it looks for them.
    pub(crate) fn program(&mut self, name: &str) -> Result<()> {
        let path = find(name)?;
        self.file(Path::new("bin").join(name), 0o755, &fs::read(&path)?)?;
        for library in libraries(&path)? {
            let inside = library.strip_prefix("/")?;
            if self.1.insert(inside.to_owned()) {
                self.file(inside, 0o755, &fs::read(&library)?)?;
            }
        }
        Ok(())
    }

    /// A shell and all that busybox is besides.
    pub(crate) fn busybox(&mut self) -> Result<()> {
        self.program("busybox")?;
        let applets = Command::new("busybox").arg("--list").output()?;
        for applet in String::from_utf8(applets.stdout)?.lines().filter(|&applet| applet != "busybox") {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            self.0.append_link(&mut header, Path::new("bin").join(applet), "busybox")?;
        }
        Ok(())
    }
}

/// A program of this machine.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let mut places = std::env::split_paths(&path).map(|dir| dir.join(program));
    let place =
        places.find(|place| place.is_file()).with_context(|| format!("{program} is not installed"))?;
    Ok(place.canonicalize()?)
}

/// None for a program that brings its own.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = Command::new("ldd").arg(program).stderr(Stdio::null()).output()?;
    let words = String::from_utf8(listed.stdout)?;
    Ok(words.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// As registries name contents: `sha256:…`. By the program that is in the images anyway.
pub(crate) fn digest(contents: &[u8]) -> Result<String> {
    let mut command = Command::new("busybox");
    let mut child = command.arg("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin is piped")?.write_all(contents)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "sha256sum: {}", output.status);
    let sum = String::from_utf8(output.stdout)?;
    Ok(format!("sha256:{}", sum.split_whitespace().next().context("a sum")?))
}
