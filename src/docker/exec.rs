//! Commands inside of a container.

use bollard::container::LogOutput;
use bollard::errors::Error as Refusal;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;

/// The exit code of what SIGKILL has ended.
const KILLED: i64 = 137;

/// What stands for an exit code that the engine does not know.
const UNKNOWN: i64 = -1;

/// What a command inside of a container has printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOutput {
    /// 0 for success, as a rule; 126 and 127 if there is no such program.
    pub exit_code: i64,
    /// All that it printed, in UTF-8, with replacement characters where it is none.
    pub stdout: String,
    /// Likewise.
    pub stderr: String,
}

impl ExecOutput {
    /// Whether the exit code is 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit_code == 0
    }

    /// Whether it was ended by SIGKILL, as everything is that runs in a container when that ends.
    pub(super) fn was_killed(&self) -> bool {
        [KILLED, UNKNOWN].contains(&self.exit_code)
    }

    pub(super) fn last_line(&self) -> &str {
        let texts = [&self.stderr, &self.stdout].into_iter();
        let mut last = texts.filter_map(|text| text.trim_end().rsplit('\n').next());
        last.find(|line| !line.is_empty()).unwrap_or_default()
    }
}

/// Runs a command to its end.
pub(super) async fn run(
    client: &bollard::Docker,
    name: &str,
    command: &[String],
) -> Result<ExecOutput, Refusal> {
    let options = CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let id = client.create_exec(name, options).await?.id;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    if let StartExecResults::Attached { mut output, .. } = client.start_exec(&id, None).await? {
        while let Some(piece) = output.next().await {
            match piece? {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                other => stdout.extend_from_slice(other.as_ref()),
            }
        }
    }
    let told = client.inspect_exec(&id).await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(ExecOutput {
        exit_code: told.exit_code.unwrap_or(UNKNOWN),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_last_line_is_one_that_was_printed(stdout: String, stderr in near::text(&["psql: no\nserver\n", "\n\n"])) {
            let output = ExecOutput { exit_code: 1, stdout, stderr };
            let printed = format!("{}{}", output.stdout, output.stderr);
            prop_assert_eq!(output.last_line().is_empty(), printed.trim().is_empty());
            prop_assert!(printed.contains(output.last_line()) && !output.last_line().contains('\n'));
        }
    }
}
