//! Messages over a pair of pipes, one per line.

use std::io;
use std::pin::pin;

use futures::StreamExt;
use futures::stream;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::Server;

/// Longest message, in bytes.
const LONGEST_MESSAGE: u64 = 1024 * 1024;
/// Most messages processed concurrently.
const MOST_AT_ONCE: usize = 16;

/// Answers the messages of `input` on `output` until the input ends.
///
/// # Errors
/// When a pipe breaks.
pub async fn serve(
    server: &Server,
    input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let lines = stream::unfold(BufReader::new(input), |mut input| async move {
        let line = next_line(&mut input).await.transpose()?;
        Some((line, input))
    });
    let replies = lines.map(|line: io::Result<Vec<u8>>| async move {
        let reply = server.answer(&line?, None).await;
        Ok::<_, io::Error>(reply.answer)
    });
    let mut replies = pin!(replies.buffer_unordered(MOST_AT_ONCE));
    while let Some(reply) = replies.next().await {
        let Some(answer) = reply? else { continue };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}

/// Reads the next line that is not blank. Of a line that is too long it returns the beginning, which is not a valid
/// message, and skips the rest.
async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    loop {
        let mut line = Vec::new();
        if (&mut *input).take(LONGEST_MESSAGE).read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line.len() as u64 == LONGEST_MESSAGE && !line.ends_with(b"\n") {
            line.truncate(1);
            pass_over(input).await?;
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(line));
        }
    }
}

/// Skips the rest of the line.
async fn pass_over(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let read = input.fill_buf().await?;
        let (used, is_end) = match read.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (read.len(), read.is_empty()),
        };
        input.consume(used);
        if is_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over() {
        let text = format!("one\n\n  \n{{{}\ntwo", "x".repeat(3 * 1024 * 1024));
        let mut input = BufReader::new(text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).await.unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one\n", "{", "two"]);
    }
}
