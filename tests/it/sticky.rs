//! The same port every run. A run is an allocator of its own here: what it knows comes from the directory.

use crate::support::*;

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use heldport::{Error, PortAllocator, PortAllocatorBuilder, PortEvent};
use tempfile::TempDir;

const NAME: &str = "auth-service";

/// A range, and a directory for its names.
struct Project {
    builder: PortAllocatorBuilder,
    range: RangeInclusive<u16>,
    directory: TempDir,
}

impl Project {
    fn new(len: u16) -> Self {
        let (builder, range) = private_allocator(len);
        let directory = tempfile::tempdir().unwrap();
        let builder = builder.state_dir(directory.path().join("state"));
        Self { builder, range, directory }
    }

    fn run(&self) -> PortAllocator {
        self.builder.clone().build().unwrap()
    }

    /// What `name` gets in a run of its own.
    fn number_of(&self, name: &str) -> u16 {
        in_a_moment(|| self.run().acquire_sticky(name)).port()
    }

    /// The files of its names.
    fn files(&self) -> Vec<PathBuf> {
        let entries = |directory: &Path| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let projects: Vec<_> = entries(&self.directory.path().join("state")).collect();
        projects.iter().flat_map(|project| entries(project)).collect()
    }
}

#[test]
fn a_name_has_the_same_number_in_every_run() {
    let project = Project::new(50);
    let number = project.number_of(NAME);
    for _ in 0..10 {
        assert_eq!(project.number_of(NAME), number, "each run starts elsewhere in the range");
    }
    let others: Vec<_> = ["a", "b", "c"].map(|name| project.number_of(name)).into();
    assert_eq!(others, ["a", "b", "c"].map(|name| project.number_of(name)));
    assert_eq!(project.number_of(NAME), number);
}

#[test]
fn a_number_that_is_in_use_gives_way_to_a_new_one_which_is_remembered() {
    let project = Project::new(3);
    let first = project.run().acquire_sticky(NAME).unwrap();
    let second = project.run().acquire_sticky(NAME).unwrap();
    let number = second.port();
    assert_ne!(number, first.port());
    drop((first, second));
    assert_eq!(project.number_of(NAME), number);

    let stranger = listen(private_block(1).0.into(), number, REUSE).unwrap();
    let other = project.number_of(NAME);
    assert_ne!(other, number);
    drop(stranger);
    assert_eq!(project.number_of(NAME), other);
}

#[test]
fn closed_connections_do_not_take_the_number_away() {
    let project = Project::new(50);
    let held = project.run().acquire_sticky(NAME).unwrap();
    let server = held.listen().unwrap();
    close_first(&server);
    let number = held.port();
    drop((server, held));
    // The kernel would refuse a bind without SO_REUSEADDR now.
    assert!(is_in_use(bind(private_block(1).0.into(), number, PLAIN)));
    if cfg!(heldport_portable) {
        return; // there nobody tells whether something else is on the number
    }
    assert_eq!(project.number_of(NAME), number);
}

#[test]
fn a_number_outside_the_request_is_forgotten() {
    let project = Project::new(4);
    let number = project.number_of(NAME);
    let elsewhere = project.builder.clone().exclude([number]).build().unwrap();
    let other = elsewhere.acquire_sticky(NAME).unwrap().port();
    assert_ne!(other, number);
    assert_eq!(project.number_of(NAME), other);
}

#[test]
fn a_number_that_is_no_multiple_is_forgotten() {
    let project = Project::new(20);
    let odd = in_a_moment(|| {
        let numbers = project.range.clone().filter(|number| number % 2 == 1).collect::<Vec<_>>();
        project.builder.clone().request(numbers).build()?.acquire_sticky(NAME)
    });
    assert_eq!(odd.port() % 2, 1);
    drop(odd);
    let even = project.builder.clone().align(2).build().unwrap().acquire_sticky(NAME).unwrap();
    assert_eq!(even.port() % 2, 0);
}

#[test]
fn a_file_that_is_damaged_is_as_good_as_none() {
    let project = Project::new(50);
    project.number_of(NAME);
    let files = project.files();
    let [file] = &files[..] else { panic!("{files:?}") };
    for damage in ["", "0 auth-service\n", "70000 auth-service\n", "port\n", "\0\0\0"] {
        fs::write(file, damage).unwrap();
        let number = project.number_of(NAME);
        assert_eq!(project.number_of(NAME), number, "written anew after {damage:?}");
    }
}

#[test]
fn nothing_is_held_when_a_number_cannot_be_remembered() {
    let project = Project::new(3);
    project.number_of(NAME);
    let files = project.files();
    let [file] = &files[..] else { panic!("{files:?}") };
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    let allocator = project.run();
    let error = allocator.acquire_sticky(NAME).unwrap_err();
    assert!(matches!(error, Error::StateDirectory { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("next: ") && text.contains("HELDPORT_STATE_DIR"), "{text}");
    assert_eq!((allocator.stats().held, allocator.stats().failures), (0, 1));
}

#[test]
fn a_name_has_to_be_given() {
    let project = Project::new(1);
    let error = project.run().acquire_sticky("").unwrap_err();
    assert!(matches!(error, Error::InvalidSetting { name: "acquire_sticky", .. }), "{error:?}");
}

#[test]
fn a_range_that_is_full_says_so_and_keeps_what_was_remembered() {
    let project = Project::new(1);
    let held = project.run().acquire_sticky(NAME).unwrap();
    let error = project.run().acquire_sticky(NAME).unwrap_err();
    assert!(matches!(error, Error::RangeExhausted { tried: 1, .. }), "{error:?}");
    let number = held.port();
    drop(held);
    assert_eq!(project.number_of(NAME), number);
}

#[test]
fn the_remembered_number_is_tried_first_and_told() {
    let project = Project::new(50);
    let number = project.number_of(NAME);
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let builder = project.builder.clone().on_event(move |event| {
        let _ = tell.lock().unwrap().send(event.clone());
    });
    // It is free again, for certain.
    drop(in_a_moment(|| project.run().acquire_exact(number)));
    let held = builder.build().unwrap().acquire_sticky(NAME).unwrap();
    assert_eq!(held.port(), number);
    let events: Vec<_> = told.try_iter().collect();
    assert!(
        matches!(events[..], [PortEvent::Trying { port: tried, .. }, PortEvent::Bound { port, attempts: 1, .. }]
            if (tried, port) == (number, number)),
        "{events:?}"
    );
}

#[test]
fn the_number_of_last_time_is_among_those_that_were_tried() {
    let project = Project::new(3);
    let _first = project.run().acquire_sticky(NAME).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let builder = project.builder.clone().on_event(move |event| told.lock().unwrap().push(event.clone()));
    let second = builder.build().unwrap().acquire_sticky(NAME).unwrap();
    let bound = events.lock().unwrap().pop().unwrap();
    let number = second.port();
    assert!(
        matches!(bound, PortEvent::Bound { port, attempts: 2.., .. } if port == number),
        "{bound}, and console_progress begins with the number that is in use"
    );
}
