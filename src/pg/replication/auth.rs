//! Logging in.

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding as SaslBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use secrecy::ExposeSecret;

use super::wire::{Transport, Wire};
use crate::pg::conninfo::{ChannelBinding, Conninfo};
use crate::pg::error::PgError;
use crate::pg::socket;
use crate::pg::tls;

/// Answers the server's challenges until it is satisfied.
pub(super) async fn log_in(wire: &mut Wire, info: &Conninfo) -> Result<(), PgError> {
    let mut bound = false;
    loop {
        let mut body = authentication(wire).await?;
        let method = method(&mut body)?;
        if method != 0 && method != 10 && info.tls.channel_binding == ChannelBinding::Require {
            return Err(refused("`channel_binding: require` is set, and the server asked for a password without it"));
        }
        match method {
            0 if bound || info.tls.channel_binding != ChannelBinding::Require => return Ok(()),
            0 => return Err(refused("`channel_binding: require` is set, and the server let us in without it")),
            3 if matches!(wire.transport(), Transport::Tls(_)) || socket::is_unix(info) => {
                let secret = password(info)?.to_owned();
                send_password(wire, secret.as_bytes()).await?;
            }
            3 => return Err(refused("the server asks for the password in clear text over an unencrypted connection")),
            5 => {
                let salt: [u8; 4] =
                    body.as_ref().try_into().map_err(|_| PgError::Protocol("a salt that is not 4 bytes".to_owned()))?;
                let hash = md5_hash(info.user.as_bytes(), password(info)?.as_bytes(), salt);
                send_password(wire, hash.as_bytes()).await?;
            }
            10 => {
                scram(wire, info, &body).await?;
                bound = true;
            }
            other => return Err(refused(&format!("the server asks for method {other}, which pcrd does not have"))),
        }
    }
}

fn refused(reason: &str) -> PgError {
    PgError::Authentication(reason.to_owned())
}

fn password(info: &Conninfo) -> Result<&str, PgError> {
    match &info.password {
        Some(password) => Ok(password.expose_secret()),
        None => Err(refused("the server asks for a password, and none was found")),
    }
}

async fn authentication(wire: &mut Wire) -> Result<Bytes, PgError> {
    let frame = wire.answer().await?;
    match frame.tag {
        b'R' => Ok(frame.body),
        // An older server than the protocol of ours; none that is supported answers so.
        tag => Err(PgError::Protocol(format!("message `{}` during login", tag.escape_ascii()))),
    }
}

fn method(body: &mut Bytes) -> Result<i32, PgError> {
    body.try_get_i32().map_err(|_| PgError::Protocol("a login message without a method".to_owned()))
}

async fn send_password(wire: &mut Wire, secret: &[u8]) -> Result<(), PgError> {
    let mut out = BytesMut::new();
    frontend::password_message(secret, &mut out)?;
    Ok(wire.send(&out).await?)
}

async fn scram(wire: &mut Wire, info: &Conninfo, mechanisms: &[u8]) -> Result<(), PgError> {
    let offers = |name: &str| mechanisms.split(|byte| *byte == 0).any(|offered| offered == name.as_bytes());
    let (plus, plain) = (offers(SCRAM_SHA_256_PLUS), offers(SCRAM_SHA_256));
    let digest = match wire.transport() {
        Transport::Tls(stream) => {
            stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(tls::end_point_digest)
        }
        Transport::Plain(_) => None,
    };
    let (mechanism, binding) = match (info.tls.channel_binding, digest) {
        (ChannelBinding::Prefer | ChannelBinding::Require, Some(digest)) if plus => {
            (SCRAM_SHA_256_PLUS, SaslBinding::tls_server_end_point(digest))
        }
        (ChannelBinding::Require, _) => {
            return Err(refused("`channel_binding: require` is set, and this connection cannot be bound"));
        }
        // Says "I could, but you did not offer it", so that a middleman who removed the offer is found out.
        (ChannelBinding::Prefer, Some(_)) if plain => (SCRAM_SHA_256, SaslBinding::unrequested()),
        _ if plain => (SCRAM_SHA_256, SaslBinding::unsupported()),
        _ => return Err(refused("the server offers no SASL mechanism that pcrd has")),
    };
    let mut exchange = ScramSha256::new(password(info)?.as_bytes(), binding);
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(mechanism, exchange.message(), &mut out)?;
    wire.send(&out).await?;

    let mut body = authentication(wire).await?;
    expect_method(&mut body, 11)?;
    exchange.update(&body).map_err(|error| refused(&error.to_string()))?;
    out.clear();
    frontend::sasl_response(exchange.message(), &mut out)?;
    wire.send(&out).await?;

    let mut body = authentication(wire).await?;
    expect_method(&mut body, 12)?;
    exchange.finish(&body).map_err(|_| refused("the server does not know the password: it may be an impostor"))
}

fn expect_method(body: &mut Bytes, expected: i32) -> Result<(), PgError> {
    match method(body)? {
        method if method == expected => Ok(()),
        other => Err(PgError::Protocol(format!("login step {other} where {expected} was due"))),
    }
}
