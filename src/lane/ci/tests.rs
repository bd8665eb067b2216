use super::*;

type Vars<'a> = &'a [(&'a str, &'a str)];

fn var(vars: Vars<'_>) -> impl Fn(&str) -> Option<String> {
    move |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
}

const GITLAB: Vars<'_> = &[("GITLAB_CI", "true"), ("CI_PIPELINE_ID", "1000"), ("CI_JOB_ID", "77")];
const BUILDKITE: Vars<'_> = &[
    ("BUILDKITE", "true"),
    ("BUILDKITE_BUILD_ID", "01912345-0000-7000-8000-000000000001"),
    ("BUILDKITE_JOB_ID", "01912345-0000-7000-8000-000000000002"),
];

#[test]
fn gitlab_counts_its_parallel_jobs_from_1() {
    let job =
        |index, total| part(var(&[GITLAB, &[("CI_NODE_INDEX", index), ("CI_NODE_TOTAL", total)]].concat()));
    let turn = turn_of("1000");
    assert_eq!(job("1", "3"), Some(Part { index: 0, of: 3, turn }));
    assert_eq!(job("3", "3"), Some(Part { index: 2, of: 3, turn }));
    for (index, total) in [("0", "3"), ("4", "3"), ("", "3"), ("one", "3"), ("1", "")] {
        assert_eq!(job(index, total), None, "{index} of {total}");
    }
    assert_eq!(part(var(&[GITLAB, &[("CI_NODE_TOTAL", "1")]].concat())), None, "a job that is not parallel");
}

#[test]
fn buildkite_counts_its_parallel_jobs_from_0() {
    let job = |index, count| {
        let told = [("BUILDKITE_PARALLEL_JOB", index), ("BUILDKITE_PARALLEL_JOB_COUNT", count)];
        part(var(&[BUILDKITE, &told].concat()))
    };
    let turn = turn_of(BUILDKITE[1].1);
    assert_eq!(job("0", "2"), Some(Part { index: 0, of: 2, turn }));
    assert_eq!(job("1", "2"), Some(Part { index: 1, of: 2, turn }));
    assert_eq!(job("2", "2"), None);
    assert_eq!(part(var(BUILDKITE)), None, "a job that is not parallel");
}

/// Others use the same names, and count from 0.
#[test]
fn gitlabs_variables_are_gitlabs_alone() {
    assert_eq!(part(var(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "3")])), None);
}

#[test]
fn jobs_are_told_apart_by_what_each_system_sets() {
    let github: Vars<'_> = &[
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_RUN_ID", "9876543210"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_JOB", "test"),
        ("RUNNER_NAME", "runner-3"),
    ];
    let jenkins: Vars<'_> =
        &[("BUILD_TAG", "jenkins-web-41"), ("EXECUTOR_NUMBER", "1"), ("NODE_NAME", "linux")];
    assert_eq!(job(var(github)).unwrap(), "9876543210 2 test runner-3");
    assert_eq!(job(var(&github[..3])).unwrap(), "9876543210 2  ");
    assert_eq!(job(var(GITLAB)).unwrap(), "77");
    assert_eq!(job(var(BUILDKITE)).unwrap(), BUILDKITE[2].1);
    assert_eq!(job(var(jenkins)).unwrap(), "jenkins-web-41 1 linux");
    assert_eq!(job(var(&[("CI", "true"), ("NODE_NAME", "worker-1"), ("GITHUB_RUN_ID", "")])), None);
}
