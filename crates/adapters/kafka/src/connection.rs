//! A connection to a broker: sends a request and reads its answer.

use std::sync::Arc;

use personium_types::{Random, hex};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{ErrorCode, KafkaError};
use crate::scram::{self, ScramClient, ScramHash};
use crate::settings::{BrokerHost, KafkaSettings, SaslMechanism, SaslUser};
use crate::wire::{Malformed, Reader, Writer, length};

/// The name of the client at the cluster.
const CLIENT_NAME: &str = "personium";
/// The largest answer that is read, bytes. One that describes a topic has less than a hundred bytes for each of its partitions.
const ANSWER_MAX_BYTES: usize = 4 << 20;
/// The random bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// A request of the protocol, with its version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestKind {
    key: i16,
    version: i16,
}

impl RequestKind {
    pub(crate) const PRODUCE: Self = Self::new(0, 7);
    pub(crate) const METADATA: Self = Self::new(3, 4);
    const SASL_HANDSHAKE: Self = Self::new(17, 1);
    const SASL_AUTHENTICATE: Self = Self::new(36, 0);

    const fn new(key: i16, version: i16) -> Self {
        Self { key, version }
    }
}

/// The bytes to and from the broker, over TCP or TLS.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection that is logged in.
pub(crate) struct Connection {
    address: String,
    stream: Box<dyn ByteStream>,
    requests: i32,
}

impl Connection {
    /// Connects to a broker, and logs in.
    ///
    /// # Errors
    /// [`KafkaError`]
    pub(crate) async fn open(
        cluster: &KafkaSettings,
        host: &BrokerHost,
        random: &dyn Random,
    ) -> Result<Self, KafkaError> {
        let address = host.to_string();
        let failed = |source| KafkaError::Connection {
            address: address.clone(),
            source,
        };
        let stream = TcpStream::connect((host.name.as_str(), host.port)).await;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn ByteStream> = match &cluster.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(host.name.clone());
                let name = name.map_err(|_| KafkaError::Address(address.clone()))?;
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
                Box::new(stream.await.map_err(failed)?)
            }
        };
        let mut connection = Self {
            address,
            stream,
            requests: 0,
        };
        if let Some(user) = &cluster.user {
            connection.log_in(user, random).await?;
        }
        Ok(connection)
    }

    /// Sends a request, and returns its answer. It must not be cancelled if the connection is used again.
    ///
    /// # Errors
    /// [`KafkaError`]; then the connection must not be used any more.
    pub(crate) async fn request(
        &mut self,
        kind: RequestKind,
        body: &[u8],
    ) -> Result<Vec<u8>, KafkaError> {
        self.requests = self.requests.wrapping_add(1);
        let number = self.requests;
        let mut head = Writer::default();
        head.i16(kind.key).i16(kind.version).i32(number);
        head.text(CLIENT_NAME);
        let head = head.into_bytes();
        let mut frame = Writer::default();
        frame.i32(length(head.len() + body.len()));
        frame.raw(&head).raw(body);
        let answer = self.exchange(&frame.into_bytes()).await;
        let mut answer = answer.map_err(|source| KafkaError::Connection {
            address: self.address.clone(),
            source,
        })??;
        let rest = answer.split_off(4.min(answer.len()));
        match Reader::new(&answer).i32()? == number {
            true => Ok(rest),
            false => Err(Malformed.into()),
        }
    }

    async fn exchange(&mut self, frame: &[u8]) -> std::io::Result<Result<Vec<u8>, Malformed>> {
        self.stream.write_all(frame).await?;
        self.stream.flush().await?;
        let length = usize::try_from(self.stream.read_i32().await?);
        let Some(length) = length.ok().filter(|it| *it <= ANSWER_MAX_BYTES) else {
            return Ok(Err(Malformed));
        };
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        Ok(Ok(answer))
    }

    async fn log_in(&mut self, user: &SaslUser, random: &dyn Random) -> Result<(), KafkaError> {
        let mut body = Writer::default();
        body.text(user.mechanism.name());
        let body = body.into_bytes();
        let answer = self.request(RequestKind::SASL_HANDSHAKE, &body).await?;
        ErrorCode::check(Reader::new(&answer).i16()?)?;
        let hash = match user.mechanism {
            SaslMechanism::Plain => {
                let text = format!("\0{}\0{}", user.name, user.password.reveal());
                self.authenticate(&text).await?;
                return Ok(());
            }
            SaslMechanism::ScramSha256 => ScramHash::sha256(),
            SaslMechanism::ScramSha512 => ScramHash::sha512(),
        };
        let mut nonce = [0; NONCE_BYTES];
        random.fill(&mut nonce).map_err(|_| KafkaError::Random)?;
        let client = ScramClient::new(hash, &user.name, &hex::encode(&nonce));
        let first = self.authenticate(&client.first_message()).await?;
        let proof = client.proof(&first, user.password.reveal());
        let (proof, expected) = proof.ok_or(KafkaError::Login)?;
        let last = self.authenticate(&proof).await?;
        match scram::is_proof(&last, &expected) {
            true => Ok(()),
            false => Err(KafkaError::Login),
        }
    }

    /// Sends a message of the log-in, and returns that of the broker.
    async fn authenticate(&mut self, message: &str) -> Result<String, KafkaError> {
        let mut body = Writer::default();
        body.bytes(message.as_bytes());
        let body = body.into_bytes();
        let answer = self.request(RequestKind::SASL_AUTHENTICATE, &body).await?;
        let mut reader = Reader::new(&answer);
        ErrorCode::check(reader.i16()?)?;
        reader.text()?;
        let message = reader.bytes()?.to_vec();
        String::from_utf8(message).map_err(|_| Malformed.into())
    }
}
