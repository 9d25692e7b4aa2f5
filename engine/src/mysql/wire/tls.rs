//! TLS over a connection, and how far the server's certificate is believed.
//!
//! The server agrees to TLS in the login ([`super::login`]); afterwards the password and everything else go through it.
//! The crypto provider is named explicitly, so nothing depends on a process-wide default.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;

use super::transport::Stream;
use crate::error::{Error, Result};
use crate::mysql::server::{ServerConfig, TlsMode};

/// Does the TLS handshake over `stream`.
///
/// # Errors
/// Stop if the certificate is not believed or the two do not agree on a version; Retry if the connection breaks.
pub(super) async fn handshake(stream: Stream, server: &ServerConfig, host: &str) -> Result<Stream> {
    let config = config(server).await?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        Error::usage(format!("{host:?} is not a name that a certificate can hold")).source(error)
    })?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(failed)?))
}

fn failed(error: std::io::Error) -> Error {
    let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match reason.map(advice_for) {
        Some(advice) => Error::stop("TLS handshake failed").source(error).advice(advice),
        None => Error::retry("TLS handshake broke off").source(error),
    }
}

/// The same error of mysql_async's connections, which wrap it in others; `None` if TLS has nothing to do with it.
pub(crate) fn failed_elsewhere(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut causes = std::iter::successors(Some(error), |cause| match cause.downcast_ref() {
        // What a failed read or write is made of is not among its sources.
        Some(io) => std::io::Error::get_ref(io).map(|inner| inner as _),
        None => cause.source(),
    });
    let reason = causes.find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    // Anything else may be a connection that broke, or a server that was too busy to begin.
    let last = matches!(
        reason,
        rustls::Error::InvalidCertificate(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(_)
    );
    if !last {
        return None;
    }
    Some(Error::stop("TLS handshake failed").source(reason.clone()).advice(advice_for(reason)))
}

fn advice_for(reason: &rustls::Error) -> &'static str {
    match reason {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "Set tls_ca to the authority that signed the server's certificate."
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "Use the host name that the certificate holds, or the TLS mode verify-ca.",
        _ => "The server must offer TLS 1.2 or 1.3; see the TLS modes for what is checked.",
    }
}

/// Whether the authorities of `tls_ca` can be used, if it is given.
///
/// # Errors
/// Usage, and what is wrong with them.
pub(crate) async fn check_authorities(server: &ServerConfig) -> Result<()> {
    roots(server).await.map(drop)
}

async fn config(server: &ServerConfig) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match server.tls {
        TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => {
            Arc::new(Unchecked(Arc::clone(&provider)))
        }
        TlsMode::VerifyCa => Arc::new(AnyName(chain_verifier(server, &provider).await?)),
        TlsMode::VerifyIdentity => chain_verifier(server, &provider).await?,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::stop("TLS cannot be set up").source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

async fn chain_verifier(
    server: &ServerConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>> {
    let roots = Arc::new(roots(server).await?);
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| Error::usage("authorities of tls_ca cannot be used").source(error))
}

async fn roots(server: &ServerConfig) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(path) = &server.tls_ca else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let unusable = |why: &str| Error::usage(format!("tls_ca {} {why}", path.display()));
    let pem =
        tokio::fs::read(path).await.map_err(|error| unusable("cannot be read").source(error))?;
    for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
        let certificate = certificate.map_err(|error| unusable("is not PEM").source(error))?;
        roots
            .add(certificate)
            .map_err(|error| unusable("holds a certificate that cannot be used").source(error))?;
    }
    if roots.is_empty() { Err(unusable("holds no certificate")) } else { Ok(roots) }
}

/// Believes any certificate: keeps listeners out, not whoever sits between.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // The signature proves that the server has the certificate's key; of a certificate that nobody vouches for that is
    // worth nothing, and the old certificates that some servers make for themselves cannot even be parsed.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Believes a certificate that a known authority signed, whatever name it holds.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is checked last, after chain and dates.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
