//! Where the directories are, and whose they must be.

use super::*;
use crate::imp;
use std::os::unix::process::CommandExt;

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// Where it is by such an environment.
fn opened_by(variables: &[(&str, &Path)]) -> Result<StateDirectory> {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    StateDirectory::open_in(None, |name| value(name).map(OsString::from))
}

#[track_caller]
fn refused(directory: &Path) -> String {
    told(&open(directory).expect_err("it should be refused"))
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_environment_names_the_place() {
    let kept = tempfile::tempdir().unwrap();
    let at = |name: &str| kept.path().join(name);
    let base =
        |variables: &[(&str, &Path)]| opened_by(variables).unwrap().project.parent().unwrap().to_owned();
    let (home, xdg, ours) = (at("home"), at("xdg"), at("ours"));
    let all = [("HOME", &*home), ("XDG_STATE_HOME", &*xdg), ("HELDPORT_STATE_DIR", &*ours)];
    let of_home = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/state" };
    assert_eq!(base(&all[..1]), home.join(of_home).join("heldport"));
    assert_eq!(base(&all[..2]), xdg.join("heldport"));
    assert_eq!(base(&all), ours);
    let state = StateDirectory::open_in(Some(&at("chosen")), |_| Some(ours.clone().into())).unwrap();
    assert_eq!(state.project.parent(), Some(&*at("chosen")));
    // Nothing said is nothing said, and the specification ignores relative paths.
    for useless in ["", "relative"] {
        assert_eq!(
            base(&[all[0], ("XDG_STATE_HOME", Path::new(useless))]),
            home.join(of_home).join("heldport")
        );
    }
    assert_eq!(base(&[all[1], ("HELDPORT_STATE_DIR", Path::new(""))]), xdg.join("heldport"));
    for homeless in [&[][..], &[("HOME", Path::new("relative"))]] {
        let error = opened_by(homeless).unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { name: "state_dir", .. }), "{error}");
        assert!(error.to_string().contains("set HELDPORT_STATE_DIR"), "{error}");
    }
    assert!(open(Path::new("")).unwrap_err().to_string().contains("it cannot be found"));
}

#[test]
fn a_project_is_known_however_it_is_reached() {
    let kept = tempfile::tempdir().unwrap();
    let (base, project) = (kept.path().join("ours"), kept.path().join("my project"));
    fs::create_dir(&project).unwrap();
    symlink(&project, kept.path().join("link")).unwrap();
    let of = |project: &Path| {
        let var = |name: &str| (name == "CARGO_MANIFEST_DIR").then(|| project.into());
        StateDirectory::open_in(Some(&base), var).unwrap().project
    };
    let named = of(&project);
    let name = named.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("my_project-") && name.len() == "my_project-".len() + 16, "{name}");
    assert_eq!(of(&kept.path().join("link/../my project/.")), named);
    assert_eq!(of(&kept.path().join("link")), named);
    assert_ne!(of(&kept.path().join("other/my project")), named, "it is gone, and another one");
    let here = env::current_dir().unwrap();
    assert_eq!(open(&base).unwrap().project, of(&here), "nothing in the environment");
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or(here, PathBuf::from);
    assert_eq!(StateDirectory::open(Some(&base)).unwrap().project, of(&manifest), "that of these tests");
    of(Path::new("/"));
}

#[test]
fn all_is_for_this_user_alone() {
    let kept = tempfile::tempdir().unwrap();
    set_mode(kept.path(), 0o755);
    let base = kept.path().join("above/ours");
    let state = open(&base).unwrap();
    state.remember("auth", 7000).unwrap();
    assert_eq!((mode_of(&base), mode_of(&state.project)), (0o700, 0o700));
    assert_eq!(mode_of(&state.file_of("auth").unwrap()), 0o600);
    assert_eq!(state.project.parent(), Some(&*base));
    // As anyone's mkdir would make it, under whatever mask is in force here.
    let plain = kept.path().join("plain");
    fs::create_dir(&plain).unwrap();
    assert_eq!(mode_of(&kept.path().join("above")), mode_of(&plain));
}

#[test]
fn wider_rights_are_refused_and_left_alone() {
    let (kept, state) = fresh();
    state.remember("auth", 7000).unwrap();
    let base = kept.path().join("ours");
    for directory in [&base, &state.project] {
        for mode in [0o755, 0o770, 0o701, 0o710, 0o702, 0o1777] {
            set_mode(directory, mode);
            let text = refused(&base);
            let shown = directory.display();
            assert!(
                text.contains(&format!("\"{shown}\": others than its user may use it (mode {mode:o})\n")),
                "{text}"
            );
            assert!(
                text.contains(&format!("next: if nobody else needs it, chmod 700 '{shown}', or")),
                "{text}"
            );
            assert_eq!(mode_of(directory), mode);
        }
        set_mode(directory, 0o700);
    }
    assert_eq!(open(&base).unwrap().recall("auth").unwrap(), Some(7000));
}

#[test]
fn what_is_no_directory_of_ours_is_refused() {
    let kept = tempfile::tempdir().unwrap();
    let at = |name: &str| kept.path().join(name);
    let ours = open(&at("ours")).unwrap();
    symlink(at("ours"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::write(at("file"), "").unwrap();
    for link in ["link", "dangling", "link/", "link/."] {
        let text = refused(&at(link));
        assert!(text.contains("it is a link, and links are not followed"), "{text}");
    }
    assert!(refused(&at("file")).contains("it is no directory"));
    assert!(!at("nowhere").exists(), "nothing is made through a link");
    let error = open(&at("file/below")).expect_err("no place for a directory");
    assert!(told(&error).contains("it cannot be made or entered: Not a directory"), "{error}");
    assert!(std::error::Error::source(&error).is_some());

    // The project's directory likewise.
    let moved = at("moved");
    fs::rename(&ours.project, &moved).unwrap();
    symlink(&moved, &ours.project).unwrap();
    let text = refused(&at("ours"));
    assert!(text.contains(&format!("\"{}\": it is a link", ours.project.display())), "{text}");
    // A link further up is the user's own affair.
    symlink(kept.path(), at("up")).unwrap();
    open(&at("up/other")).unwrap();
    assert_eq!(mode_of(&at("other")), 0o700);
}

/// Root may write anywhere, so root runs this very test as another user, from a copy that the other can reach.
#[test]
fn a_user_without_rights_is_told_so() {
    const NAME: &str = "state::tests::directory::a_user_without_rights_is_told_so";
    let kept = tempfile::tempdir().unwrap();
    if env::var_os(CHILD_OF_TEST).is_none() && user() == 0 {
        set_mode(kept.path(), 0o777);
        let copy = kept.path().join("tests");
        // By another process, as a file that is open for writing here cannot be run.
        assert!(Command::new("cp").arg(env::current_exe().unwrap()).arg(&copy).status().unwrap().success());
        let mut child = child_of(NAME, copy, kept.path());
        let output = child.env("TMPDIR", kept.path()).uid(NOBODY).gid(NOBODY).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    assert_ne!(user(), 0);
    without_rights(kept.path());
}

fn without_rights(kept: &Path) {
    let text = refused(Path::new("/"));
    assert!(text.contains("it belongs to the user with the id 0, and this process acts as"), "{text}");

    let base = kept.join("ours");
    let state = open(&base).unwrap();
    state.remember("auth", 7000).unwrap();
    set_mode(&state.project, 0o500);
    assert_eq!(open(&base).unwrap().recall("auth").unwrap(), Some(7000), "it can be read");
    for name in ["auth", "other"] {
        let error = state.remember(name, 7001).unwrap_err();
        let place = format!("\"{}\": it cannot be written: Permission denied", state.project.display());
        assert!(told(&error).contains(&place), "{error}");
        let source = std::error::Error::source(&error).expect("the system's word");
        assert!(source.to_string().starts_with("Permission denied"));
    }
    assert_eq!(state.recall("auth").unwrap(), Some(7000));

    set_mode(&state.project, 0o600);
    assert!(told(&state.recall("auth").unwrap_err()).contains("it cannot be read: Permission denied"));
    set_mode(&state.project, 0o700);
    let file = state.file_of("auth").unwrap();
    set_mode(&file, 0o000);
    assert!(told(&state.recall("auth").unwrap_err()).contains("next: remove it, or"));
    state.remember("auth", 7002).unwrap();
    assert_eq!(state.recall("auth").unwrap(), Some(7002));

    set_mode(kept, 0o500);
    let below = kept.join("new");
    assert!(refused(&below).contains("it cannot be made or entered: Permission denied"));
    set_mode(kept, 0o700);
}

fn user() -> u32 {
    imp::rights(&fs::metadata("/").unwrap()).expect("on Unix").user
}
