//! The connection to an account.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Context;
use azure_data_cosmos::diagnostics::{CosmosOperationContext, DiagnosticsContext, DiagnosticsHandler};
use azure_data_cosmos::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, OperationOptionsBuilder, ServerCertificateValidation,
    ThrottlingRetryOptionsBuilder,
};
use azure_data_cosmos::{AccountEndpoint, AccountReference, CosmosClient, CosmosError, CosmosRuntime, RoutingStrategy};
use secrecy::ExposeSecret;

use super::outcome::error;
use crate::azure::Identity;
use crate::base::crypto;
use crate::config::Cosmos;
use crate::store::{Error, Result};
use crate::telemetry::metrics::Metrics;

/// The SDK's own time limit. Shorter, because the SDK's error says more about what it waited for.
const SDK_DEADLINE: Duration = Duration::from_millis(7_500);

/// Connects to the account.
///
/// # Errors
/// When it cannot be reached, or the key is unusable.
pub async fn connect(account: &Cosmos, identity: &Identity, metrics: &Metrics) -> Result<CosmosClient> {
    crypto::install(); // the SDK makes clients of its own
    let endpoint: AccountEndpoint =
        account.endpoint.as_str().parse().map_err(|fault: CosmosError| Error::Failed(fault.into()))?;
    let reference = match &account.key {
        Some(key) => AccountReference::with_authentication_key(endpoint, key.expose_secret().to_owned()),
        None => {
            let credential = identity.credential().map_err(|fault| Error::Failed(fault.into()))?;
            AccountReference::with_credential(endpoint, credential)
        }
    };
    let mut pool = ConnectionPoolOptions::builder()
        .with_max_connect_timeout(Duration::from_secs(2))
        .with_max_metadata_request_timeout(Duration::from_secs(5));
    if account.emulator {
        pool = pool
            .with_is_http2_allowed(false)
            .with_server_certificate_validation(ServerCertificateValidation::RequiredUnlessEmulator);
    }
    let pool = pool.build().map_err(error)?;
    let runtime = CosmosRuntime::builder().with_connection_pool(pool).build().await.map_err(error)?;
    let operations = OperationOptionsBuilder::new()
        .with_end_to_end_latency_policy(SDK_DEADLINE.into())
        .with_throttling_retry_options(ThrottlingRetryOptionsBuilder::new().with_max_retry_count(3).build())
        .build();
    let mut builder = CosmosClient::builder()
        .with_runtime(runtime)
        .with_default_operation_options(operations)
        // Text encoding, so that we read exactly the stored bytes, on every account and emulator.
        .with_binary_encoding_options(BinaryEncodingOptions::new().with_enabled(false));
    if metrics.is_on() {
        builder = builder.with_diagnostics_handler(Arc::new(CallMeter(metrics.clone())));
    }
    // No preference: regions are used in the account's order.
    builder.build(reference, RoutingStrategy::PreferredRegions(Vec::new())).await.map_err(error)
}

/// Records the cost of each SDK call.
struct CallMeter(Metrics);

impl DiagnosticsHandler for CallMeter {
    fn handle(&self, diagnostics: &DiagnosticsContext, context: &Context<'_>) {
        let operation = context.value::<CosmosOperationContext>();
        let container = operation.and_then(CosmosOperationContext::container_name).unwrap_or("none");
        let retries = diagnostics.request_count().saturating_sub(1);
        let request_units = diagnostics.total_request_charge().value();
        self.0.store_call(container, request_units, u64::try_from(retries).unwrap_or(u64::MAX));
    }
}
