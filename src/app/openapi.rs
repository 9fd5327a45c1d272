//! The OpenAPI 3.1 document. It is generated from annotations of the handlers (`#[utoipa::path]`, `ToSchema`, and the
//! [`Read`](crate::http::extract::Read) of request types); this module adds what routes of a kind share.
//!
//! A handler lists only its own responses. Those that follow from its group, body or query (401, 413, 422 and so on)
//! and the common headers are added.

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, ToSchema};

use super::groups::Access::{self, Admin, Public, Service, SignedIn, User, UserOrService};
use super::groups::{Group, groups};
use crate::http::error::Fault;
use crate::http::layers::idempotency::Repeats;
use crate::http::layers::openai_errors::{self, ErrorBody};

/// Tags of the routes with descriptions, in typical order of use.
const TAGS: [(&str, &str); 19] = [
    ("chat", "Ask the stylist; follow, stop and list its answers; read and set what it remembers."),
    ("wardrobe", "Garments, photo uploads, and wears."),
    ("profile", "The user's sizes, tastes, city and currency."),
    ("collections", "Selections of garments, which other users may join."),
    ("stylist", "Outfit recommendations for an occasion."),
    ("insights", "Wardrobe statistics: cost per wear, wears, colours."),
    ("digest", "Weekly purchase ideas."),
    ("moods", "Trends in the fashion press."),
    ("scraper", "The discover feed: its items, votes and sources."),
    ("taste", "A quiz about taste."),
    ("media", "Backgrounds of photos, descriptions of garments, stored pictures."),
    ("jobs", "Background jobs: progress, outputs, termination."),
    ("auth", "Sign-in with Google, and tokens for programs."),
    ("openai", "The stylist as a model of OpenAI's API."),
    ("mcp", "The wardrobe for other assistants, by the Model Context Protocol."),
    ("usage", "Usage and cost of model calls."),
    ("admin", "For administrators: users, timers, messages that failed."),
    ("health", "Whether the service answers."),
    ("docs", "This description."),
];

impl Access {
    /// Returns who may call the routes, as a sentence.
    fn sentence(self) -> &'static str {
        match self {
            Public => "For everyone.",
            User => "For signed-in users and their API tokens.",
            SignedIn => "For signed-in users; API tokens are refused.",
            Admin => "For administrators (`ADMIN_USER_IDS`).",
            UserOrService => "For signed-in users, their API tokens, and other services.",
            Service => "For other services, by their key or token.",
        }
    }

    /// Returns the security requirement.
    fn security(self) -> Value {
        match self {
            Public => json!([]),
            User => json!([{ "user": [] }, { "apiToken": [] }]),
            SignedIn | Admin => json!([{ "user": [] }]),
            UserOrService => {
                json!([{ "user": [] }, { "apiToken": [] }, { "serviceKey": [] }, { "serviceToken": [] }])
            }
            Service => json!([{ "serviceKey": [] }, { "serviceToken": [] }]),
        }
    }

    /// Returns the statuses that the layers of such routes may answer.
    fn statuses(self) -> &'static [u16] {
        match self {
            Public => &[429, 500, 503],
            Service => &[401, 429, 500, 503],
            User | UserOrService | SignedIn | Admin => &[401, 403, 429, 500, 503],
        }
    }
}

/// An error.
#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document; error.rs writes the body")]
struct Error {
    /// Message.
    detail: String,
    /// Message, as in `detail`.
    error: String,
}

/// A body, query or path that does not match its schema.
#[derive(ToSchema)]
#[expect(dead_code, reason = "used only for the OpenAPI document; error.rs writes the body")]
struct ValidationError {
    /// All faults found.
    detail: Vec<Fault>,
    /// The first fault as a text.
    error: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "PluckIt Processor",
        description = "The backend of an AI wardrobe stylist. Errors are `{\"detail\": …, \"error\": …}`. Unknown fields of a body are \
            ignored; a name in camelCase may be written in snake_case and the other way round. A trailing slash of a path \
            is ignored. A request may carry `x-request-id` (1 to 128 of letters, digits and `-_.:`), which its answer and \
            the log repeat.",
        contact(name = "PluckIt"),
        license(name = "MIT", identifier = "MIT")
    ),
    servers((url = "/", description = "This service")),
    components(schemas(Error, ValidationError, ErrorBody))
)]
struct Base;

/// Returns a function that returns the document as JSON, with or without the wardrobe API. It is generated at the first
/// request.
pub fn served_document(wardrobe_api: bool) -> fn() -> Bytes {
    static WITH_WARDROBE: LazyLock<Bytes> = LazyLock::new(|| document(true).to_string().into());
    static WITHOUT_WARDROBE: LazyLock<Bytes> = LazyLock::new(|| document(false).to_string().into());
    if wardrobe_api { || WITH_WARDROBE.clone() } else { || WITHOUT_WARDROBE.clone() }
}

/// Generates the document, with or without the wardrobe API.
pub fn document(wardrobe_api: bool) -> Value {
    let mut document = value(&Base::openapi());
    document["components"]["securitySchemes"] = credentials();
    document["components"]["headers"] = headers();
    document["components"]["responses"] = responses();
    let used: HashSet<_> = groups(wardrobe_api).iter().map(|group| group.tag).collect();
    let tags = TAGS.iter().filter(|(name, _)| used.contains(name));
    document["tags"] = tags.map(|(name, about)| json!({ "name": name, "description": about })).collect();
    for group in groups(wardrobe_api) {
        let rules = Rules::of(&group);
        let Group { access, routes, repeats, .. } = group;
        let mut group = value(&routes.into_openapi());
        merge(&mut document["components"]["schemas"], group["components"]["schemas"].take());
        let Value::Object(paths) = group["paths"].take() else { continue };
        for (path, mut operations) in paths {
            // The router's catch-all segment is an ordinary parameter here.
            let path = path.replace("{*", "{");
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                // The layer covers users' routes.
                if matches!(access, User | SignedIn | Admin) && method != "get" && repeats != Repeats::Never {
                    repeat_answers(operation);
                }
                if repeats == Repeats::UnlessAsync {
                    may_be_later(operation);
                }
                complete(operation, &rules);
                if openai_errors::applies_to(&path) {
                    use_openai_form(operation);
                }
            }
            merge(&mut document["paths"][path], operations);
        }
    }
    let paths = document["paths"].to_string();
    if let Some(responses) = document["components"]["responses"].as_object_mut() {
        responses.retain(|status, _| paths.contains(&format!("#/components/responses/{status}\"")));
    }
    document
}

fn value(document: &utoipa::openapi::OpenApi) -> Value {
    serde_json::to_value(document).expect("the document serializes to JSON")
}

/// Merges the members of one object into another.
fn merge(into: &mut Value, from: Value) {
    let Value::Object(members) = from else { return };
    if into.is_null() {
        *into = json!({});
    }
    if let Value::Object(object) = into {
        object.extend(members);
    }
}

fn add_parameter(operation: &mut Value, parameter: Value) {
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

/// Documents on an operation that it may run later, by [`crate::http::extract::PreferAsync`].
fn may_be_later(operation: &mut Value) {
    let prefer = json!({
        "name": "Prefer",
        "in": "header",
        "required": false,
        "description": "`respond-async` runs it in the background.",
        "schema": { "type": ["string", "null"] },
        "example": "respond-async",
    });
    add_parameter(operation, prefer);
    operation["responses"]["202"] = accepted();
    if operation["responses"].get("400").is_none() {
        operation["responses"]["400"] = json!({ "description": "Invalid `Idempotency-Key`." });
    }
}

/// Documents the idempotency layer on an operation.
fn repeat_answers(operation: &mut Value) {
    let key = json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "Identifies the request: repeated within 24 hours, it is executed once and gets the first answer.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": r"^[\t -~]*[!-~][\t -~]*$" },
    });
    add_parameter(operation, key);
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        response["headers"]["idempotency-replayed"] = header("Replayed");
    }
    for status in ["400", "408", "409", "413", "422"] {
        responses.entry(status).or_insert_with(|| json!({ "$ref": format!("#/components/responses/{status}") }));
    }
}

/// Rules that a group applies to all its operations.
struct Rules {
    tag: &'static str,
    access: Access,
    /// Statuses for a body that does not match its schema.
    body_mismatch: &'static [u16],
    /// Statuses for a path or query that does not match its schema.
    address_mismatch: &'static [u16],
}

impl Rules {
    fn of(group: &Group) -> Self {
        let (body_mismatch, address_mismatch): (&[u16], &[u16]) =
            if group.refuses_with_text { (&[400], &[]) } else { (&[415, 422], &[422]) };
        Self { tag: group.tag, access: group.access, body_mismatch, address_mismatch }
    }
}

/// Completes an operation with what follows from its group, parameters and body.
fn complete(operation: &mut Value, rules: &Rules) {
    operation["tags"] = json!([rules.tag]);
    let about = [operation["description"].as_str(), Some(rules.access.sentence())];
    operation["description"] = about.into_iter().flatten().collect::<Vec<_>>().join("\n\n").into();
    operation["security"] = rules.access.security();
    let mut statuses = rules.access.statuses().to_vec();
    // An optional body may also be `null`.
    if operation.pointer("/requestBody/content/application~1json/schema/oneOf").is_some() {
        operation["requestBody"]["required"] = json!(false);
    }
    if let Some(body) = operation.get("requestBody") {
        statuses.extend([408, 413]);
        if body["content"].get("application/json").is_some() {
            statuses.extend(rules.body_mismatch);
        }
    }
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    if parameters.iter().any(|parameter| parameter["in"] != "header") {
        statuses.extend(rules.address_mismatch);
    }
    if parameters.iter().any(|parameter| parameter["in"] == "query") {
        statuses.extend([414, 431]);
    }
    let is_conditional = parameters.iter().any(|parameter| parameter["name"] == "If-None-Match");
    let needs_version = parameters.iter().any(|parameter| parameter["name"] == "If-Match");
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    if needs_version {
        statuses.push(412);
    }
    if is_conditional {
        responses.entry("304").or_insert_with(|| json!({ "description": "Not modified." }));
    }
    let own = responses.iter_mut().filter(|(_, response)| response.get("$ref").is_none());
    for (status, response) in own {
        let is_error = status.as_str() >= "400";
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = json!(if is_error { "Error" } else { "OK" });
        }
        if let Some(stream) = response.pointer_mut("/content/text~1event-stream") {
            describe_stream(stream);
            if response["description"] == "OK" {
                response["description"] = json!(STREAM);
            }
        }
        if is_error && response.get("content").is_none() {
            response["content"] = json_body("Error");
            response["content"]["application/json"]["example"] = error_example(&response["description"]);
        }
        response["headers"]["x-request-id"] = header("RequestId");
        if is_conditional && !is_error {
            response["headers"]["etag"] = header("ETag");
        }
        if !is_error {
            response["headers"]["ratelimit"] = header("RateLimit");
            response["headers"]["ratelimit-policy"] = header("RateLimitPolicy");
        }
        if status == "503" {
            response["headers"]["retry-after"] = header("RetryAfter");
        }
    }
    for status in statuses {
        let shared = json!({ "$ref": format!("#/components/responses/{status}") });
        responses.entry(status.to_string()).or_insert(shared);
    }
}

/// Describes the errors and the stream of an operation in OpenAI's format.
fn use_openai_form(operation: &mut Value) {
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if let Some(reference) = response.get_mut("$ref") {
            *reference = json!(format!("#/components/responses/{OPENAI_PREFIX}{status}"));
        } else if status.as_str() >= "400" {
            response["content"] = json_body("OpenAiError");
        }
        if let Some(stream) = response.pointer_mut("/content/text~1event-stream/schema") {
            stream["description"] = json!(
                "Server-sent events: blocks of `data: `, a chunk as JSON in one line, and an empty line. Comments \
                 (`: keep-alive`) come after 15 s of silence. The last block is `data: [DONE]`. What fails after the first \
                 byte is a block with an `error`."
            );
        }
    }
}

/// Name prefix of shared responses in OpenAI's format.
const OPENAI_PREFIX: &str = "openai-";

/// Describes a response that is a stream of server-sent events.
const STREAM: &str = "Server-sent events: blocks of `data: `, an event as JSON in one line, and an empty line. No block has \
    `event:`; only those of streams that can be resumed have `id:`. A comment (`: keep-alive`) is sent after 15 s of silence. \
    A failure after the first byte is an `error` event, before the last one.";

/// Example streams, by the end of the reference to the schema of their events.
const STREAMS: [(&str, &str); 2] = [
    (
        "/ChatEvent",
        r#"data: {"type":"tool_use","name":"search_wardrobe"}

data: {"type":"tool_result","name":"search_wardrobe","summary":"{\"items\":[{\"id\":\"demo-camel-wool-coat\"…","toolLatencyMs":7}

data: {"type":"token","content":"Wear your camel coat."}

data: {"type":"memory_update","updated":false}

data: {"type":"done","model":"gpt-4.1-mini","tokenCount":9,"runId":"4f0c5c1e-6a55-4a3f-8f0e-2d3a0d3b1c55"}

"#,
    ),
    (
        "/UiMessageChunk",
        r#"data: {"type":"start","messageId":"4f0c5c1e-6a55-4a3f-8f0e-2d3a0d3b1c55"}

data: {"type":"text-start","id":"t1"}

data: {"type":"text-delta","id":"t1","delta":"Wear your camel coat."}

data: {"type":"text-end","id":"t1"}

data: {"type":"finish"}

data: [DONE]

"#,
    ),
];

/// Describes a stream of events: as text, because OpenAPI 3.1 has no better type, with the schema of its events.
fn describe_stream(stream: &mut Value) {
    let event = stream["schema"].take();
    let reference = event["$ref"].as_str().unwrap_or_default();
    if let Some((_, example)) = STREAMS.iter().find(|(end, _)| reference.ends_with(end)) {
        stream["example"] = json!(example);
    }
    stream["schema"] = json!({ "type": "string", "contentMediaType": "text/event-stream", "contentSchema": event });
}

/// Returns an error body as an example.
fn error_example(detail: &Value) -> Value {
    json!({ "detail": detail, "error": detail })
}

/// Returns the 202 response of a request that runs in the background.
fn accepted() -> Value {
    json!({
        "description": "Accepted; runs in the background.",
        "content": json_body("AcceptedResponse"),
        "headers": {
            "location": header("Location"),
            "retry-after": header("RetryAfter"),
            "preference-applied": header("PreferenceApplied"),
        },
    })
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn json_body(schema: &str) -> Value {
    json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
}

fn credentials() -> Value {
    json!({
        "user": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token of `POST /api/auth/mobile-token`, or a Google ID token. Administrators are \
                the users in `ADMIN_USER_IDS`.",
        },
        "apiToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token from `POST /api/auth/tokens`, for programs: `pat-…`. A read-only token cannot change anything.",
        },
        "serviceKey": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "API key of other services.",
        },
        "serviceToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A Microsoft Entra ID token, if the service is configured for tokens instead of the key.",
        },
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "RequestId": {
            "description": "Request id, also in the log; the caller's if it was valid.",
            "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[-A-Za-z0-9_.:]+$" },
        },
        "Location": { "description": "URL of the job.", "required": true, "schema": { "type": "string" } },
        "PreferenceApplied": { "description": "`respond-async`.", "required": true, "schema": { "type": "string" } },
        "Replayed": text("`true` if this is the answer to an earlier request with the same `Idempotency-Key`."),
        "ETag": text("Version of the answer, for `If-None-Match`."),
        "RetryAfter": {
            "description": "Seconds to wait before trying again.",
            "required": true,
            "schema": { "type": "integer", "minimum": 0 },
        },
        "RateLimit": text("Remaining quota and seconds until it is full, as `\"name\";r=59;t=1`."),
        "RateLimitPolicy": text("Quota in requests per window in seconds, as `\"name\";q=60;w=60`."),
        "WwwAuthenticate": { "description": "`Bearer`; for `/api/mcp` with `resource_metadata`, the URL that describes the credentials.", "required": true, "schema": { "type": "string" } },
    })
}

/// Returns the body of a 422 as an example.
fn mismatch_example() -> Value {
    json!({
        "detail": [{ "type": "missing", "loc": ["body", "message"], "msg": "Field required", "input": {} }],
        "error": "body.message: Field required",
    })
}

/// Returns the responses that many routes share, by status.
fn responses() -> Value {
    let shared = [
        (
            400,
            "A body that cannot be read, or a value that breaks a rule, such as an `Idempotency-Key` of more than 128 characters.",
            "Idempotency-Key must have 1 to 128 printable ASCII characters.",
            None,
        ),
        (
            401,
            "Missing or invalid credential.",
            "Missing Authorization header.",
            Some(("www-authenticate", "WwwAuthenticate")),
        ),
        (403, "The caller is not allowed to do this.", "Admin access required.", None),
        (408, "The body arrived too slowly.", "The request body took too long to arrive.", None),
        (
            409,
            "A request with this `Idempotency-Key` is in progress.",
            "A request with this Idempotency-Key is under way.",
            None,
        ),
        (412, "The version does not match `If-Match`.", "The document has changed since you read it.", None),
        (413, "Body or picture too large.", "Request body too large.", None),
        (415, "The body is not JSON.", "Unsupported Media Type", None),
        (422, "The body, query or path does not match its schema.", "", None),
        (429, "Rate limit exceeded.", "Too many requests. Please slow down.", Some(("retry-after", "RetryAfter"))),
        (500, "Internal error.", "Internal server error.", None),
        (
            503,
            "The service is overloaded, or a dependency is down.",
            "The service is temporarily unavailable. Please try again.",
            Some(("retry-after", "RetryAfter")),
        ),
    ];
    let response = |(status, description, detail, with): (u16, &str, &str, Option<(&str, &str)>)| {
        let mut headers = json!({ "x-request-id": header("RequestId") });
        if let Some((name, component)) = with {
            headers[name] = header(component);
        }
        let (schema, example) = match status {
            422 => ("ValidationError", mismatch_example()),
            _ => ("Error", error_example(&detail.into())),
        };
        let mut content = json_body(schema);
        content["application/json"]["example"] = example;
        let response = json!({ "description": description, "headers": headers, "content": content });
        (status.to_string(), response)
    };
    let mut responses: Map<_, _> = shared.into_iter().map(response).collect();
    let in_openai_form = |(status, response): (&String, &Value)| {
        let mut response = response.clone();
        response["content"] = json_body("OpenAiError");
        (format!("{OPENAI_PREFIX}{status}"), response)
    };
    let in_openai_form: Vec<_> = responses.iter().map(in_openai_form).collect();
    responses.extend(in_openai_form);
    // Answered by the connection, before routing.
    for prefix in ["", OPENAI_PREFIX] {
        responses.insert(format!("{prefix}414"), json!({ "description": "The URL is longer than 64 KiB." }));
        responses.insert(format!("{prefix}431"), json!({ "description": "URL and headers are longer than 80 KiB." }));
    }
    responses.into()
}
