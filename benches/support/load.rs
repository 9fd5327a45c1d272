//! A small load tool: hand-written HTTP/1.1 on persistent connections, so that the client costs as little as possible.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A connection that sends one request after the other.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and reads its answer, which must have a length. Returns the status.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<u16> {
        self.stream.write_all(request).await?;
        self.answer().await
    }

    /// Like [`Self::ask`], but sends the request at this rate in bits per second.
    pub async fn ask_over(&mut self, bits_per_second: f64, request: &[u8]) -> std::io::Result<u16> {
        const PIECE: usize = 16 * 1024;
        let mut pieces = tokio::time::interval(Duration::from_secs_f64(8.0 * PIECE as f64 / bits_per_second));
        for piece in request.chunks(PIECE) {
            pieces.tick().await;
            self.stream.write_all(piece).await?;
        }
        self.answer().await
    }

    async fn answer(&mut self) -> std::io::Result<u16> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((status, length)) = head(&self.buffer)
                && self.buffer.len() >= length
            {
                return Ok(status);
            }
        }
    }

    /// Sends a request and reads until the answer holds `mark` followed by `end`. Returns what is between them.
    pub async fn ask_until(&mut self, request: &[u8], mark: &str, end: char) -> std::io::Result<String> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&self.buffer);
            if let Some((_, rest)) = text.split_once(mark)
                && let Some((found, _)) = rest.split_once(end)
            {
                return Ok(found.to_owned());
            }
        }
    }

    /// Sends a request and reads its answer to the end. Calls `arrived`, for each `mark` in it, with what is between it
    /// and `end`, the moment it is there. Returns the last bytes.
    pub async fn ask_marks(
        &mut self,
        request: &[u8],
        mark: &str,
        end: u8,
        mut arrived: impl FnMut(&str),
    ) -> std::io::Result<String> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        while self.stream.read_buf(&mut self.buffer).await? > 0 {
            let mut done = 0;
            while let Some(at) = find(&self.buffer[done..], mark.as_bytes()) {
                let begin = done + at + mark.len();
                let Some(length) = self.buffer[begin..].iter().position(|byte| *byte == end) else { break };
                arrived(&String::from_utf8_lossy(&self.buffer[begin..begin + length]));
                done = begin + length;
            }
            // A mark may have begun.
            let kept = self.buffer.len().saturating_sub(256).max(done);
            self.buffer.drain(..kept);
        }
        Ok(String::from_utf8_lossy(&self.buffer).into_owned())
    }

    /// Reads until the other side closes. Returns the complete answer.
    pub async fn rest(mut self) -> std::io::Result<String> {
        self.stream.read_to_end(&mut self.buffer).await?;
        Ok(String::from_utf8_lossy(&self.buffer).into_owned())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Status and length of the whole answer, if its head is there.
fn head(answer: &[u8]) -> Option<(u16, usize)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
    Some((head.get(9..12)?.parse().ok()?, end + length))
}

/// A GET request, as bytes.
pub fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A POST request with a JSON body, as bytes; the connection is closed after it.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Measures requests per second on this many connections, each of which sends its next request as soon as it has its
/// answer.
pub async fn requests_per_second(address: SocketAddr, request: &[u8], connections: usize, span: Duration) -> f64 {
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(connection.ask(request).await.unwrap(), 200);
        open.push(connection);
    }
    let begin = Instant::now();
    let mut callers = JoinSet::new();
    for mut connection in open {
        let request = request.to_vec();
        callers.spawn(async move {
            let mut answers = 0_u32;
            while begin.elapsed() < span {
                assert_eq!(connection.ask(&request).await.unwrap(), 200);
                answers += 1;
            }
            answers
        });
    }
    let answers: u32 = callers.join_all().await.into_iter().sum();
    f64::from(answers) / begin.elapsed().as_secs_f64()
}
