//! Carrying an alternative out: its calls one after the other, each page by page.

use serde_json::{Map, Value, json};
use toolroom_domain::job::Progress;

use super::{
    answer::{Reply, Rules, announced, judge},
    auth::Around,
    compiled::{Connector, Found},
    fill::{Filler, Names, faulty},
    format::{Alternative, ErrorEntry, Request},
    request,
};
use crate::executor::{
    error::CallError,
    http::{self, Answer, Step, Wire},
    rehearsal,
    rest::Templates,
    schema::serialised_bytes,
};

/// Bytes of all that the pages of one call give: what one answer may have.
const ITEMS_BYTES: usize = 10 * 1024 * 1024;

/// How requests are answered.
pub(super) enum Transport<'a, 'w> {
    /// By the service.
    Wire(&'a Wire<'w>),
    /// By what the file says that the service would answer.
    Examples(std::vec::IntoIter<Answer>),
    /// Not at all: requests are made and not sent.
    Nowhere,
}

/// What a run works with.
pub(super) struct Run<'a, 'w> {
    pub(super) connector: &'a Connector,
    /// None in the connection test.
    pub(super) action: Option<Found<'a>>,
    pub(super) templates: &'a Templates,
    pub(super) names: Names,
    pub(super) around: Around<'a, 'w>,
    pub(super) transport: Transport<'a, 'w>,
    /// Numbers the calls where no wire does.
    pub(super) steps: Box<dyn FnMut() -> Step + Send + 'a>,
    /// Each request as it may be shown, where somebody wants to see them.
    pub(super) shown: Option<Vec<Value>>,
}

/// How far an alternative was carried out.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// To the end, with this output.
    Done(Value),
    /// As far as there were answers; these steps would follow.
    Rendered(Vec<String>),
}

/// What one call gave.
struct Given {
    reply: Reply,
    output: Value,
}

impl<'a> Run<'a, '_> {
    /// The first alternative that fits, and its number.
    ///
    /// # Errors
    /// When none fits, saying what the action needs.
    pub(super) fn choose(
        &self,
        place: &str,
        alternatives: &'a [Alternative],
        needs: Option<&str>,
    ) -> Result<(usize, &'a Alternative), CallError> {
        let filler = Filler::new(self.templates, &self.names);
        for (i, alternative) in alternatives.iter().enumerate() {
            let place = format!("{place}.requests.{i}.when");
            if filler.holds(&place, alternative.when())? {
                return Ok((i, alternative));
            }
        }
        let what = match self.action {
            Some(found) => format!("`{}`", found.action.id),
            None => "the connection test".to_owned(),
        };
        Err(CallError::invalid(match needs {
            Some(needs) => format!("{what} needs {needs}"),
            None => format!("{what} cannot be done with these credentials and this input"),
        }))
    }

    /// Carries an alternative out.
    ///
    /// # Errors
    /// Why a call of it failed.
    pub(super) async fn carry_out(
        &mut self,
        place: &str,
        alternative: &Alternative,
    ) -> Result<Outcome, CallError> {
        let calls = alternative.calls();
        let mut steps = Map::new();
        let mut output = Value::Null;
        self.names.set("steps", &Value::Object(Map::new()));
        for (n, request) in calls.iter().enumerate() {
            let place = format!("{place}.{}", alternative.place_of_call(n));
            let place = place.trim_end_matches('.');
            if calls.len() > 1 {
                let filler = Filler::new(self.templates, &self.names);
                if !filler.holds(&format!("{place}.when"), request.when.as_deref())? {
                    continue;
                }
                self.tell_progress(request, n, calls.len());
            }
            let Some(given) = self.call(place, request).await? else {
                let later = calls[n + 1..].iter();
                let ids = later.map(|call| call.id.clone().unwrap_or_default());
                return Ok(Outcome::Rendered(ids.collect()));
            };
            output = given.output;
            if let Some(id) = &request.id {
                let step = json!({
                    "status": given.reply.status,
                    "headers": given.reply.headers,
                    "body": given.reply.body,
                    "output": output,
                });
                steps.insert(id.clone(), step);
                self.names.set("steps", &Value::Object(steps.clone()));
            }
        }
        Ok(Outcome::Done(output))
    }

    fn tell_progress(&self, request: &Request, number: usize, of: usize) {
        if let Transport::Wire(wire) = &self.transport {
            wire.journal().progress(Progress {
                step: request.id.clone(),
                percentage: Some(100.0 * number as f64 / of as f64),
            });
        }
    }

    /// One call, page by page; nothing where no answer comes.
    async fn call(&mut self, place: &str, request: &Request) -> Result<Option<Given>, CallError> {
        let mut next = Value::Null;
        let mut items = Vec::new();
        let mut bytes = 0;
        let most = request.pages.as_ref().map_or(1, |pages| pages.max);
        for number in 1..=most {
            let page = json!({ "number": number, "next": next });
            self.names.set("page", &page);
            let Some(reply) = self.send(place, request).await? else {
                return Ok(None);
            };
            let filler = Filler::new(self.templates, &self.names);
            let Some(pages) = &request.pages else {
                let output = self.output(place, request, &reply, &filler)?;
                return Ok(Some(Given { reply, output }));
            };
            let page_items = filler.expression(&format!("{place}.pages.items"), &pages.items)?;
            bytes += serialised_bytes(&page_items);
            let Value::Array(page_items) = page_items else {
                return Err(faulty(&format!("{place}.pages.items"), "must give a list"));
            };
            if bytes > ITEMS_BYTES {
                let mebibytes = ITEMS_BYTES / 1024 / 1024;
                return Err(CallError::too_large(format!(
                    "the service's pages give more than {mebibytes} MiB; ask for less"
                )));
            }
            items.extend(page_items);
            let following = filler.expression(&format!("{place}.pages.next"), &pages.next)?;
            let is_last = following.is_null() || following == "" || following == next;
            next = if is_last { Value::Null } else { following };
            if is_last || number == most {
                let mut names = self.names.clone();
                names.set("items", &Value::Array(std::mem::take(&mut items)));
                names.set("page", &json!({ "number": number, "next": next }));
                let filler = Filler::new(self.templates, &names);
                let output = match &request.output {
                    Some(output) => filler.json(&format!("{place}.output"), output)?,
                    None => filler.expression("items", "items")?,
                };
                return Ok(Some(Given { reply, output }));
            }
        }
        Ok(None)
    }

    fn output(
        &self,
        place: &str,
        request: &Request,
        reply: &Reply,
        filler: &Filler<'_>,
    ) -> Result<Value, CallError> {
        match &request.output {
            Some(output) => filler.json(&format!("{place}.output"), output),
            None => Ok(reply.body.clone()),
        }
    }

    /// The names that there are after an answer.
    fn after(&self, reply: &Reply) -> Names {
        let mut names = self.names.clone();
        names.set("status", &Value::from(reply.status));
        names.set("headers", &reply.headers);
        names.set("body", &reply.body);
        names
    }

    async fn send(&mut self, place: &str, request: &Request) -> Result<Option<Reply>, CallError> {
        let step = match &self.transport {
            Transport::Wire(wire) => wire.step(),
            Transport::Examples(_) | Transport::Nowhere => (self.steps)(),
        };
        let outgoing = {
            let filler = Filler::new(self.templates, &self.names);
            let action = self.action.map(|found| found.action);
            request::build(
                self.connector,
                action,
                place,
                request,
                &filler,
                step,
                &mut self.around,
            )
            .await?
        };
        if let Some(shown) = &mut self.shown {
            shown.push(rehearsal::shown(&outgoing, self.around.secrets));
        }
        let answer = match &mut self.transport {
            Transport::Wire(wire) => {
                Some(http::exchange(wire, outgoing, self.around.secrets).await?)
            }
            Transport::Examples(answers) => answers.next(),
            Transport::Nowhere => None,
        };
        let Some(answer) = answer else {
            return Ok(None);
        };
        self.tell_limit(&answer);
        let reply = Reply::of(&answer, request.answer).await?;
        let names = self.after(&reply);
        let filler = Filler::new(self.templates, &names);
        let secrets = &*self.around.secrets;
        judge(answer, request, &self.rules(), (&reply, &filler), secrets)?;
        self.names = names;
        Ok(Some(reply))
    }

    fn tell_limit(&self, answer: &Answer) {
        let (Transport::Wire(wire), Some(limit)) =
            (&self.transport, &self.connector.file.rate_limit)
        else {
            return;
        };
        let now = self.around.clock.now();
        let told = announced(&answer.headers, limit, now);
        // What a file names the headers of is not guessed by others.
        let told = match limit.headers.remaining.is_some() {
            true => Some(told.unwrap_or_default()),
            false => told,
        };
        if let Some(told) = told {
            wire.journal().announced(told);
        }
    }

    fn rules(&self) -> Rules<'_> {
        let mut errors: Vec<(String, &[ErrorEntry])> = Vec::new();
        if let Some(found) = self.action {
            let place = format!("actions.{}.errors", found.number);
            errors.push((place, &found.action.errors));
        }
        errors.push(("errors".to_owned(), &self.connector.file.errors));
        Rules { errors }
    }
}
