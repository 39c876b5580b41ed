//! The host's end of the line to a machine's agent (`guest/agent`): scripts in, what they printed
//! out.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tandem_tests::{Context, Failure, Result, fail};

/// Longest answer: the agent cuts what a script printed to a million bytes.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// How often a line that has not come is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// A line to an agent.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    received: Vec<u8>,
    scripts: u64,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// All that it printed, on either output.
    pub text: String,
}

impl Agent {
    /// Takes up the line at `socket`, which QEMU has opened.
    ///
    /// # Errors
    /// It has not.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).about(socket.display())?;
        stream.set_read_timeout(Some(GLANCE))?;
        Ok(Self { stream, received: Vec::new(), scripts: 0 })
    }

    /// Waits for the agent's first word until `deadline`, as long as `lives`.
    ///
    /// # Errors
    /// It has not come, or the machine is gone.
    pub fn await_ready(
        &mut self,
        deadline: Instant,
        lives: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        self.answer(0, deadline, lives).map(drop)
    }

    /// Runs a script of bash, which takes no longer than until `deadline`.
    ///
    /// # Errors
    /// It took longer, or the machine is gone.
    pub fn run(
        &mut self,
        script: &str,
        deadline: Instant,
        lives: impl FnMut() -> Result<()>,
    ) -> Result<Answer> {
        self.scripts += 1;
        let line = format!("{} {}\n", self.scripts, STANDARD.encode(script));
        self.stream.write_all(line.as_bytes()).about("a script for the machine")?;
        self.answer(self.scripts, deadline, lives)
    }

    fn answer(
        &mut self,
        number: u64,
        deadline: Instant,
        mut lives: impl FnMut() -> Result<()>,
    ) -> Result<Answer> {
        loop {
            while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let (of, answer) = parse(&line)?;
                // One that was given up before may still come.
                if of == number {
                    return Ok(answer);
                }
            }
            if self.received.len() > ANSWER_BYTES_MAX {
                return fail("the agent does not end its line");
            }
            lives()?;
            if Instant::now() > deadline {
                return fail("it has not ended in its time");
            }
            let mut chunk = [0; 1 << 16];
            match self.stream.read(&mut chunk) {
                Ok(0) => return fail("the machine is gone"),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).about("the line to the machine"),
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<(u64, Answer)> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.trim_end_matches('\n').splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (number, code, text) = (word(), word(), word());
    let wrong = || Failure::new(format!("the agent said '{}'", line.trim_end()));
    let number = number.parse().map_err(|_| wrong())?;
    let code = code.parse().map_err(|_| wrong())?;
    let text = STANDARD.decode(text).map_err(|_| wrong())?;
    Ok((number, Answer { code, text: String::from_utf8_lossy(&text).into_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let text = "a\nb".to_owned();
        assert_eq!(parse(b"7 3 YQpi\n").unwrap(), (7, Answer { code: 3, text }));
        assert_eq!(parse(b"0 0 \n").unwrap().1.text, "");
        assert!(parse(b"login:\n").is_err());
    }
}
