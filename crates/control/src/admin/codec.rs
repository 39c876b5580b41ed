//! Frames of the admin socket as bytes.
//!
//! Decoding is incremental and total: from the start of a buffer it returns a message and the bytes
//! it took, or that more are needed, or an error after which the session is of no use. A length is
//! checked before anything is allocated for it, and bincode runs under the same limit, so that a
//! count inside a payload cannot ask for more than a frame holds.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Request, Response};
use crate::limits::ADMIN_FRAME_BYTES_MAX;

/// Bytes before the payload of a frame.
pub const HEADER_LEN: usize = 4;

/// A frame that cannot be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Its length is beyond the limit.
    #[error("admin frame of {0} bytes, {ADMIN_FRAME_BYTES_MAX} are allowed")]
    TooLong(u64),
    /// Its payload is no message of this version.
    #[error("admin frame makes no sense: {0}")]
    Malformed(String),
}

/// Requests by version of the protocol. Variants are never reordered.
#[derive(Serialize, Deserialize)]
enum VersionedRequest<R> {
    V1(R),
}

/// Responses by version of the protocol. Variants are never reordered.
#[derive(Serialize, Deserialize)]
enum VersionedResponse<R> {
    V1(R),
}

/// The frame of a request.
///
/// # Errors
/// The request is larger than a frame may be.
pub fn encode_request(request: &Request) -> Result<Vec<u8>, CodecError> {
    encode(&VersionedRequest::V1(request))
}

/// The frame of a response.
///
/// # Errors
/// The response is larger than a frame may be.
pub fn encode_response(response: &Response) -> Result<Vec<u8>, CodecError> {
    encode(&VersionedResponse::V1(response))
}

/// The request at the start of `bytes` and the bytes it took; `None` while it is not complete.
///
/// # Errors
/// The bytes are no frame of a request.
pub fn decode_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, CodecError> {
    let decoded = decode::<VersionedRequest<Request>>(bytes)?;
    Ok(decoded.map(|(VersionedRequest::V1(request), taken)| (request, taken)))
}

/// The response at the start of `bytes` and the bytes it took; `None` while it is not complete.
///
/// # Errors
/// The bytes are no frame of a response.
pub fn decode_response(bytes: &[u8]) -> Result<Option<(Response, usize)>, CodecError> {
    let decoded = decode::<VersionedResponse<Response>>(bytes)?;
    Ok(decoded.map(|(VersionedResponse::V1(response), taken)| (response, taken)))
}

/// The length of the payload that a header announces.
///
/// # Errors
/// It is beyond the limit.
pub fn payload_len(header: [u8; HEADER_LEN]) -> Result<usize, CodecError> {
    let announced = u32::from_le_bytes(header);
    match usize::try_from(announced) {
        Ok(length) if length <= ADMIN_FRAME_BYTES_MAX => Ok(length),
        Ok(_) | Err(_) => Err(CodecError::TooLong(u64::from(announced))),
    }
}

fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let payload = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    let too_long = || CodecError::TooLong(u64::try_from(payload.len()).unwrap_or(u64::MAX));
    if payload.len() > ADMIN_FRAME_BYTES_MAX {
        return Err(too_long());
    }
    let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend_from_slice(&payload);
    Ok(frame)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, CodecError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let length = payload_len(*header)?;
    let Some(payload) = rest.get(..length) else {
        return Ok(None);
    };
    let config = bincode::config::standard().with_limit::<ADMIN_FRAME_BYTES_MAX>();
    let (message, taken) = bincode::serde::decode_from_slice(payload, config)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    if taken != length {
        let left = length - taken;
        return Err(CodecError::Malformed(format!("{left} bytes behind the message")));
    }
    Ok(Some((message, HEADER_LEN + length)))
}
