use super::names::unknown_name;
use super::*;

fn read(settings: &[(&str, &str)]) -> Result<Config, Error> {
    Config::read(|name| {
        let found = settings.iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| ((*value).to_owned(), Source::Environment))
    })
}

#[test]
fn shared_documents_need_shared_queues_and_pictures_outside_development() {
    let remote = [
        ("COSMOS_DB_ENDPOINT", "https://account.documents.azure.com"),
        ("OPENAI_BASE_URL", "https://models.example/v1"),
    ];
    let production = ("AZURE_FUNCTIONS_ENVIRONMENT", "Production");
    let host = ("FUNCTIONS_CUSTOMHANDLER_PORT", "5001");
    let development = ("AZURE_FUNCTIONS_ENVIRONMENT", "Development");
    for place in [&[production][..], &[host], &[host, development]] {
        let settings = [place, &remote].concat();
        let message = read(&settings).unwrap_err().to_string();
        assert!(message.contains("StorageQueue") && message.contains("the embedded queue"), "{message}");
        assert_eq!(message.lines().count(), 1);
        for enough in [
            ("STORAGE_ACCOUNT_NAME", "account"),
            ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
            ("PLUCKIT_ALLOW_EMBEDDED", "1"),
        ] {
            assert!(read(&[&settings[..], &[enough]].concat()).is_ok(), "{enough:?}");
        }
        // Then jobs are shared, but pictures are not.
        for queue in [
            ("StorageQueue", "UseDevelopmentStorage=true"),
            ("StorageQueue__queueServiceUri", "https://account.queue.core.windows.net"),
        ] {
            let settings = [&settings[..], &[queue]].concat();
            let message = read(&settings).unwrap_err().to_string();
            assert!(
                message.contains("STORAGE_ACCOUNT_NAME") && message.contains("pictures kept in files"),
                "{message}"
            );
            assert_eq!(message.lines().count(), 1);
            for enough in [("AzureWebJobsStorage", "UseDevelopmentStorage=true"), ("PLUCKIT_ALLOW_EMBEDDED", "1")] {
                assert!(read(&[&settings[..], &[enough]].concat()).is_ok(), "{enough:?}");
            }
        }
    }
    assert!(read(&[&remote[..], &[development]].concat()).is_ok());
}

#[test]
fn names_like_settings_are_told_and_those_of_others_are_not() {
    let config = read(&[]).unwrap();
    let known: Vec<&'static str> = config.effective.iter().map(|setting| setting.name).collect();
    for (name, nearest) in [
        ("COSMOS_DB_ENDPONT", Some("COSMOS_DB_ENDPOINT")),
        ("COSMOS_ENDPOINT_DB", None),
        ("PLUCKIT_DATADIR", Some("PLUCKIT_DATA_DIR")),
        ("PLUCKIT_PORT", Some("PORT")),
        ("pluckit_data_dir", Some("PLUCKIT_DATA_DIR")),
        ("OPENAI_BASEURL", Some("OPENAI_BASE_URL")),
        ("GOOGLE_CLIENT_IDS", Some("GOOGLE_CLIENT_ID")),
        ("RATE_LIMIT_ENTIRELY_MADE_UP_NAME", None),
    ] {
        let found = unknown_name(name, &known).map(|found| found.nearest);
        let is_of_ours = name != "COSMOS_ENDPOINT_DB";
        assert_eq!(found, is_of_ours.then_some(nearest), "{name}");
    }
    let all_known: Vec<_> = known.iter().filter(|name| unknown_name(name, &known).is_some()).collect();
    assert!(all_known.is_empty(), "{all_known:?}");
    for others in [
        "PATH",
        "HOME",
        "HOST",
        "PORTS",
        "SORT",
        "LOGNAME",
        "HTTP_PROXY",
        "NO_PROXY",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_SUBSCRIPTION_ID",
        "OPENAI_ORG_ID",
        "OPENAI_API_BASE",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_SDK_DISABLED",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLIENT_SECRET",
        "WEBSITE_SITE_NAME",
        "WEBSITE_SKU",
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_EXTENSION_VERSION",
        "AzureWebJobsFeatureFlags",
        "AzureWebJobsStorage__accountName",
        "UPLOADS_CONTAINER_NAME",
        "LANGFUSE_TRACING",
        "PLUCKIT_TEST_COSMOS",
        "PLUCKIT",
        "REDIS_URL",
        "DATABASE_URL",
        "RUST_LOG",
        "CARGO_HOME",
        "SSL_CERT_FILE",
    ] {
        assert_eq!(unknown_name(others, &known), None, "{others}");
    }
}

#[test]
fn a_log_filter_names_levels() {
    for good in
        ["debug", "pluckit=trace", "info, hyper=warn", "off", "warn,pluckit::chat=debug,[request]=trace", "INFO"]
    {
        assert_eq!(read(&[("PLUCKIT_LOG", good)]).unwrap().log_filter, good.replace(' ', ""));
    }
    for bad in ["debugg", "pluckit=trce", "pluckit", "info,verbose", "=", "info;debug"] {
        let message = read(&[("PLUCKIT_LOG", bad)]).unwrap_err().to_string();
        let expected = format!("PLUCKIT_LOG is {bad:?}: expected error, warn, info, debug, trace or off");
        assert!(message.starts_with(&expected) && message.lines().count() == 1, "{message}");
    }
}

#[test]
fn what_may_be_secret_in_an_address_is_masked() {
    for (text, shown) in [
        ("https://a.example/x", "https://a.example/x"),
        ("https://a.example/x?code=s3cret#t0ken", "https://a.example/x?********"),
        ("https://a.example/x#t0ken", "https://a.example/x#********"),
        ("https://a.example/?", "https://a.example/?"),
        ("https://u:p@a.example/@b?c", "https://********@a.example/@b?********"),
        ("https://a.example/@b", "https://a.example/@b"),
        ("https://u:p?q@a.example:port/x", "https://********@a.example:port/x"),
        ("u:p@a.example?k=v", "********@a.example?********"),
        ("nonsense", "nonsense"),
        ("", ""),
    ] {
        assert_eq!(masked_url(text), shown);
    }
    let secrets = [
        ("SEGMENTATION_ENDPOINT_URL", "https://a.example/cut?code=s3cret"),
        ("FX_RATES_URL", "https://a.example/rates?access_key=s3cret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a.example/otlp?key=s3cret#s3cret"),
        ("MOOD_FEEDS", "https://a.example/feed?token=s3cret,https://b.example/feed?token=s3cret"),
        ("GOOGLE_JWKS_URL", "https://a.example/keys?x=s3cret"),
        ("OPENAI_BASE_URL", "https://a.example/v1?api-key=s3cret"),
    ];
    let config = read(&secrets).unwrap();
    assert!(!format!("{:?}", config.effective).contains("s3cret"), "{:?}", config.effective);
    let feeds = config.effective.iter().find(|setting| setting.name == "MOOD_FEEDS").unwrap();
    assert_eq!(feeds.value, "https://a.example/feed?********,https://b.example/feed?********");
    for (name, text) in secrets {
        let broken = text.replace("https://", "ftp://u:s3cret@");
        let message = read(&[(name, &broken)]).unwrap_err().to_string();
        assert!(message.contains(name) && !message.contains("s3cret"), "{message}");
    }
}

#[test]
fn the_emulators_account_is_where_the_emulator_is() {
    use secrecy::ExposeSecret;
    let name = ("STORAGE_ACCOUNT_NAME", "devstoreaccount1");
    let elsewhere = "AccountName=devstoreaccount1;AccountKey=a2V5;BlobEndpoint=http://azurite:10000/devstoreaccount1;\
                     QueueEndpoint=http://azurite:10001/devstoreaccount1";
    for (host, expected) in [
        (None, "UseDevelopmentStorage=true"),
        (Some("UseDevelopmentStorage=true"), "UseDevelopmentStorage=true"),
        (Some(elsewhere), elsewhere),
        (Some("AccountName=real;AccountKey=a2V5"), "UseDevelopmentStorage=true"),
    ] {
        let mut settings = vec![name, ("STORAGE_ACCOUNT_KEY", "a2V5")];
        settings.extend(host.map(|host| ("AzureWebJobsStorage", host)));
        let storage = read(&settings).unwrap().storage;
        for account in [storage.blobs, storage.queues] {
            let Some(StorageAccount::ConnectionString(text)) = account else { panic!("{account:?}") };
            assert_eq!(text.expose_secret(), expected);
        }
    }
}

#[test]
fn values_that_cannot_work_are_told_at_the_start() {
    let queue_in_azure = ("StorageQueue__queueServiceUri", "https://account.queue.core.windows.net");
    for (name, value, expected) in [
        (
            "STORAGE_ACCOUNT_NAME",
            "http://",
            "STORAGE_ACCOUNT_NAME is \"http://\": expected the name of a storage account",
        ),
        ("STORAGE_ACCOUNT_NAME", "ab", "STORAGE_ACCOUNT_NAME is \"ab\""),
        (
            "AzureWebJobsStorage",
            "banana",
            "AzureWebJobsStorage cannot be used: part 1 of the connection string has no `=`",
        ),
        ("StorageQueue", "a=b", "StorageQueue cannot be used: the connection string lacks AccountName"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "banana",
            "OTEL_EXPORTER_OTLP_HEADERS cannot be used: expected name=value pairs",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,=c", "OTEL_EXPORTER_OTLP_HEADERS cannot be used"),
    ] {
        let message = read(&[(name, value)]).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
        assert!(value.len() < 6 || name == "STORAGE_ACCOUNT_NAME" || !message.contains(value), "{message}");
    }
    for fine in [("OTEL_EXPORTER_OTLP_HEADERS", "a=b, c=,"), ("STORAGE_ACCOUNT_NAME", "abc"), queue_in_azure] {
        assert!(read(&[fine]).is_ok(), "{fine:?}");
    }
    // One that is not in use does no harm.
    let unused = [("AzureWebJobsStorage", "banana"), ("STORAGE_ACCOUNT_NAME", "account")];
    assert!(read(&unused).is_ok());
    // The route answers for itself.
    let config = read(&[("METADATA_EXTRACT_AUTH_MODE", "banana")]).unwrap();
    assert!(config.warnings[0].starts_with("METADATA_EXTRACT_AUTH_MODE is \"banana\": expected api-key or azuread"));
}
