//! Tokens of a registry's token service (CNCF distribution, `docs/spec/auth`):
//! what the client library does not do, or does not tell.

use futures_util::StreamExt;
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use serde::Deserialize;

/// Longest answer of a token service: bytes.
const LONGEST: usize = 1 << 20;
/// The name of this program, for a token service.
const CLIENT: &str = "stack";

/// Whom a registry asks to be asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: String,
    service: Option<String>,
}

/// Why there is no token.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody answers.
    Unreachable(reqwest::Error),
    /// What was answered instead.
    Status(u16),
    /// An answer that is none.
    Bad(String),
}

impl From<reqwest::Error> for Refusal {
    fn from(error: reqwest::Error) -> Refusal {
        Refusal::Unreachable(error)
    }
}

impl Challenge {
    /// Asks a registry. `None`: it wants no token.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn ask(
        http: &reqwest::Client,
        base: &str,
    ) -> Result<Option<Challenge>, Refusal> {
        let answer = http.get(format!("{base}/v2/")).send().await?;
        let wanted = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let mut texts = wanted.filter_map(|value| value.to_str().ok());
        Ok(texts.find_map(Challenge::read))
    }

    /// `Bearer realm="…",service="…"` (RFC 6750, section 3).
    fn read(text: &str) -> Option<Challenge> {
        let (scheme, mut rest) = text.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim_matches([' ', ',']) {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(Challenge {
            realm: realm?,
            service,
        })
    }

    fn fields<'a>(&'a self, scope: &'a str) -> Vec<(&'a str, &'a str)> {
        let service = self.service.as_deref().map(|service| ("service", service));
        service.into_iter().chain([("scope", scope)]).collect()
    }

    /// Gives an identity token, which `docker login` got of some registries in place
    /// of a password, for one that opens the scope (`docs/spec/auth/oauth.md`).
    ///
    /// # Errors
    /// The service does not take it.
    pub(super) async fn exchange(
        &self,
        http: &reqwest::Client,
        scope: &str,
        identity: &str,
    ) -> Result<String, Refusal> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            access_token: String,
            #[serde(default)]
            token: String,
        }
        let mut fields = self.fields(scope);
        fields.extend([
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT),
            ("refresh_token", identity),
        ]);
        let form = self.with(&fields)?.query().unwrap_or_default().to_owned();
        let request = http
            .post(&self.realm)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await?;
        let body = whole(good(answer)?).await?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| Refusal::Bad(error.to_string()))?;
        [answer.access_token, answer.token]
            .into_iter()
            .find(|token| !token.is_empty())
            .ok_or_else(|| Refusal::Bad("the token service gave no token".to_owned()))
    }

    /// Does the service give a token to whoever has this password, or to anybody?
    ///
    /// # Errors
    /// It does not, and why.
    pub(super) async fn check(
        &self,
        http: &reqwest::Client,
        scope: &str,
        login: Option<(&str, &str)>,
    ) -> Result<(), Refusal> {
        let mut request = http.get(self.with(&self.fields(scope))?);
        if let Some((user, password)) = login {
            request = request.basic_auth(user, Some(password));
        }
        good(request.send().await?).map(drop)
    }

    fn with(&self, fields: &[(&str, &str)]) -> Result<Url, Refusal> {
        let bad = |error| Refusal::Bad(format!("the realm {}: {error}", self.realm));
        let mut url: Url = self.realm.parse().map_err(bad)?;
        url.query_pairs_mut().clear().extend_pairs(fields);
        Ok(url)
    }
}

fn good(answer: Response) -> Result<Response, Refusal> {
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(Refusal::Status(status.as_u16())),
    }
}

async fn whole(answer: Response) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(bytes) = stream.next().await {
        body.extend_from_slice(&bytes?);
        if body.len() > LONGEST {
            let why = "the token service's answer is larger than 1 MiB";
            return Err(Refusal::Bad(why.to_owned()));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::Challenge;

    #[test]
    fn challenges_are_read() {
        let read =
            |text| Challenge::read(text).map(|found: Challenge| (found.realm, found.service));
        let both = Some(("https://a/t?x=1,2".to_owned(), Some("s".to_owned())));
        assert_eq!(
            read(r#"Bearer realm="https://a/t?x=1,2",service="s",scope="x:y""#),
            both
        );
        assert_eq!(read(r#"bearer service=s, realm="https://a/t?x=1,2""#), both);
        for none in [
            "Basic realm=\"a\"",
            "Bearer",
            "Bearer realm=\"a",
            "Bearer service=\"s\"",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
