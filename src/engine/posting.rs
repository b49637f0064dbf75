//! From a decided submission to a POST, and from a finished render to its files: the core's effects
//! on servers, each begun here and ended by an input.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::core::{CollectFailure, Effect, First, Input, PostResult};
use super::errands::{self, Uploaded};
use super::preflight::{self, Sight, Told};
use super::{Driver, Event, Measuring, hearing};
use crate::comfy::Client;
use crate::job::{Change, Failure, FailureKind, Job, JobId, Output, Repaired};
use crate::protocol::Look;
use crate::store::{InputFile, Prompt, StoreError, Write};
use crate::verdict::{Curves, Measurement};
use crate::workflow::object_info::ObjectInfo;

/// A graph as it will be posted.
pub(super) struct Ready {
    pub graph: Value,
    pub text: String,
    pub extra_data: Option<Map<String, Value>>,
}

/// A POST as it will be sent; its graph is kept already.
#[derive(Debug)]
pub(super) struct Post {
    pub job: JobId,
    pub prompt_id: String,
    pub graph: Value,
    pub extra_data: Option<Map<String, Value>>,
    /// What the server said of its nodes: for the words of a refusal.
    pub info: Option<Arc<ObjectInfo>>,
}

/// A place in a server's line.
#[derive(Debug)]
pub(super) struct Submission {
    job: JobId,
    post: Option<Post>,
}

/// Sends a server's POSTs one after the other, so that they arrive in order. When one finds nobody
/// there, those behind it are not tried.
pub(super) async fn send_posts(
    server: usize,
    client: Arc<Client>,
    client_id: String,
    mut posts: mpsc::UnboundedReceiver<Post>,
    events: mpsc::UnboundedSender<Event>,
) {
    while let Some(Post { job, prompt_id, graph, extra_data, info }) = posts.recv().await {
        let result = errands::post(&client, &client_id, &prompt_id, &graph, extra_data.as_ref(), info.as_deref()).await;
        let away = if let PostResult::NotSent(why) = &result { Some(why.clone()) } else { None };
        let _ = events.send(Event::Input(Input::Posted { server, job, prompt_id, result }));
        if let Some(why) = away {
            while let Ok(Post { job, prompt_id, .. }) = posts.try_recv() {
                let result = PostResult::NotSent(why.clone());
                let _ = events.send(Event::Input(Input::Posted { server, job, prompt_id, result }));
            }
        }
    }
}

impl Driver {
    /// It will not be posted after all.
    fn posted(&mut self, server: usize, job: JobId, prompt_id: String, result: PostResult) {
        if let Some(end) = self.servers.get_mut(server) {
            end.line.retain(|s| s.job != job);
        }
        self.move_up(server);
        self.step(Input::Posted { server, job, prompt_id, result });
    }

    /// The graph of a job that needs no upload, ready to post.
    pub(super) fn prepare(&mut self, server: usize, job: JobId, prompt_id: &str, seed: Option<u64>) -> Option<Ready> {
        self.servers.get(server)?;
        let prompt = self.prompt_of(job).ok()??;
        if !self.looks_fit(server, job, &prompt) {
            return None;
        }
        prompt.files.is_empty().then(|| self.fill_in(prompt, prompt_id, seed, Vec::new()))
    }

    /// What is needed to post the try that a job is at.
    fn prompt_of(&self, job: JobId) -> Result<Option<Prompt>, StoreError> {
        let variation = self.state.job(job).map_or(0, Job::variation);
        Ok(self.store.prompt(job)?.map(|prompt| prompt.varied(variation)))
    }

    /// What is known of the server speaks for it.
    fn looks_fit(&self, server: usize, job: JobId, prompt: &Prompt) -> bool {
        match self.sight(server, job) {
            Sight::Blind => true,
            Sight::First(_) => false,
            Sight::Known(known) => preflight::faults(prompt, &known.info).is_empty(),
        }
    }

    /// What is known of a server.
    pub(super) fn info_of(&self, server: usize) -> Option<Arc<ObjectInfo>> {
        self.preflight.known.get(server)?.as_ref().map(|known| Arc::clone(&known.info))
    }

    /// What a job is held against before it is posted there.
    fn sight(&self, server: usize, job: JobId) -> Sight {
        let wanted = self.preflights() && self.state.job(job).is_some_and(|job| !job.no_preflight);
        let known = self.preflight.known.get(server).filter(|_| wanted).cloned();
        match (known, self.first_of(server)) {
            (Some(Some(known)), _) => Sight::Known(known),
            (Some(None), Some(first)) => Sight::First(first),
            _ => Sight::Blind,
        }
    }

    /// The core hears of the nodes before the POST: messages may come before its answer.
    pub(super) fn know_nodes(&mut self, job: JobId, graph: &Value) {
        if let Some(graph) = graph.as_object() {
            self.state.know_nodes(job, hearing::nodes_of(graph));
        }
    }

    /// Puts seed, prefix and the names of uploads into a graph.
    fn fill_in(&self, prompt: Prompt, prompt_id: &str, seed: Option<u64>, names: Vec<Uploaded>) -> Ready {
        let mut graph = prompt.graph;
        if let Some(seed) = seed {
            crate::workflow::set_seed(&mut graph, &prompt.seed_inputs, seed);
        }
        if self.config.queue.own_prefix {
            crate::workflow::own_prefix(&mut graph, prompt_id.get(..8).unwrap_or_default());
        }
        for Uploaded { node, input, name } in names {
            crate::workflow::set_input(&mut graph, &node, &input, Value::String(name));
        }
        let graph = Value::Object(graph);
        Ready { text: graph.to_string(), graph, extra_data: prompt.extra_data }
    }

    /// Brings the job's files to its server; the answer is [`Event::Uploaded`].
    pub(super) fn upload(&mut self, server: usize, job: JobId, prompt_id: String, seed: Option<u64>) {
        self.line_up(server, job, None);
        let Some(end) = self.servers.get(server) else { return };
        match self.prompt_of(job) {
            Ok(Some(prompt)) => {
                let (client, events) = (Arc::clone(&end.client), self.events.clone());
                let (folder, measurer) = (Arc::clone(&self.folder), self.measurer.clone());
                let given = self.given(&prompt.files);
                let sight = self.sight(server, job);
                let name = self.state.server_names().nth(server).unwrap_or_default().to_owned();
                tokio::spawn(async move {
                    let (fit, said) = preflight::last_look(&client, &name, sight, &prompt).await;
                    if said.is_some() {
                        let _ = events.send(Event::Told(Box::new(Told { server, said, fresh: true })));
                    }
                    if let Err(why) = fit {
                        let names = Err(PostResult::Refused(why));
                        let _ = events.send(Event::Uploaded { server, job, prompt_id, seed, names });
                        return;
                    }
                    let names = match errands::fetched(&folder, &measurer, prompt.files, given).await {
                        Ok(files) => errands::upload(&client, files).await,
                        Err(why) => Err(why),
                    };
                    let _ = events.send(Event::Uploaded { server, job, prompt_id, seed, names });
                });
            }
            Ok(None) => self.cannot_post(server, job, prompt_id, "its prompt is not in the store"),
            Err(error) => self.cannot_post(server, job, prompt_id, &error.to_string()),
        }
    }

    /// What the jobs gave whose outputs these files are.
    fn given(&self, files: &[InputFile]) -> HashMap<JobId, Result<Vec<Output>, String>> {
        let from = files.iter().filter_map(|file| file.from);
        let outputs = |id| Some((id, self.state.job(self.state.meant_by(id))?.gives()));
        from.filter_map(outputs).collect()
    }

    fn cannot_post(&mut self, server: usize, job: JobId, prompt_id: String, why: &str) {
        let result = PostResult::Refused(Failure {
            kind: FailureKind::File,
            node: None,
            message: why.to_owned(),
            detail: String::new(),
        });
        self.posted(server, job, prompt_id, result);
    }

    pub(super) fn uploaded(
        &mut self,
        server: usize,
        job: JobId,
        prompt_id: String,
        seed: Option<u64>,
        names: Result<Vec<Uploaded>, PostResult>,
    ) {
        let names = match names {
            Ok(names) => names,
            Err(result) => return self.posted(server, job, prompt_id, result),
        };
        let prompt = match self.prompt_of(job) {
            Ok(Some(prompt)) => prompt,
            Ok(None) => return self.cannot_post(server, job, prompt_id, "its prompt is not in the store"),
            Err(error) => return self.cannot_post(server, job, prompt_id, &error.to_string()),
        };
        if !self.state.is_wanted(job) {
            return self.posted(server, job, prompt_id, PostResult::NotWanted);
        }
        let Ready { graph, text, extra_data } = self.fill_in(prompt, &prompt_id, seed, names);
        self.know_nodes(job, &graph);
        if let Err(error) = self.store.write(&[Write::Posted { prompt_id: prompt_id.clone(), job, graph: text }]) {
            // Nothing is wrong with the job: it is sent when the store can be written again.
            return self.posted(server, job, prompt_id, PostResult::NotSent(error.to_string()));
        }
        let info = self.info_of(server);
        if let Some(end) = self.servers.get_mut(server)
            && let Some(submission) = end.line.iter_mut().find(|s| s.job == job)
        {
            submission.post = Some(Post { job, prompt_id, graph, extra_data, info });
        }
        self.move_up(server);
    }

    /// Puts a submission at the end of its server's line; `post` is there once nothing is left to upload.
    pub(super) fn line_up(&mut self, server: usize, job: JobId, post: Option<Post>) {
        if let Some(end) = self.servers.get_mut(server) {
            end.line.push_back(Submission { job, post });
        }
        self.move_up(server);
    }

    /// Hands over what stands ready at the head of the line.
    fn move_up(&mut self, server: usize) {
        let Some(end) = self.servers.get_mut(server) else { return };
        while let Some(post) = end.line.front_mut().and_then(|s| s.post.take()) {
            end.line.pop_front();
            let _ = end.poster.send(post);
        }
    }

    pub(super) fn look(&mut self, server: usize, asked: u64, prompts: Vec<(JobId, String)>, first: First) {
        let Some(end) = self.servers.get(server) else { return };
        let (client, events) = (Arc::clone(&end.client), self.events.clone());
        tokio::spawn(async move {
            let jobs = prompts.iter().map(|(job, _)| *job).collect();
            let input = match errands::look(&client, prompts, first).await {
                Ok(found) => Input::Looked { server, asked, found },
                Err(error) => {
                    tracing::warn!("the server could not be asked: {error}");
                    Input::LookFailed { server, asked, jobs }
                }
            };
            let _ = events.send(Event::Input(input));
        });
    }

    pub(super) fn free(&self, server: usize) {
        let Some(end) = self.servers.get(server) else { return };
        let (client, events) = (Arc::clone(&end.client), self.events.clone());
        tokio::spawn(async move {
            let result = client.free(true, true).await.map_err(|error| error.to_string());
            let _ = events.send(Event::Input(Input::Freed { server, result }));
        });
    }

    pub(super) fn collect(&mut self, server: usize, job: JobId, prompt_id: String, salvage: bool) {
        let Some(end) = self.servers.get(server) else { return };
        let graph = match self.store.posted(&prompt_id) {
            Ok(graph) => graph,
            Err(error) => {
                tracing::warn!("{job}: {error}");
                None
            }
        };
        let errand = errands::Collect {
            client: Arc::clone(&end.client),
            folder: Arc::clone(&self.folder),
            prompt_id: prompt_id.clone(),
            name: self.state.job(job).map(|j| j.name.clone()).unwrap_or_default(),
            graph,
            salvage,
            max_bytes: self.config.outputs.max_bytes,
            server_folder: self.config.outputs.server_folder.clone(),
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let result: Result<_, CollectFailure> = errand.run().await;
            let _ = events.send(Event::Input(Input::Collected { job, prompt_id, result }));
        });
    }

    /// The store has these outputs now: how they came to be named need not be remembered.
    pub(super) fn forget_collected(&self, written: &[Write]) {
        let prompts: Vec<_> = written
            .iter()
            .filter_map(|write| match write {
                Write::Job { job, change: Change::Collected { .. }, .. } => Some(job.attempt()?.prompt_id.clone()),
                _ => None,
            })
            .collect();
        if !prompts.is_empty() {
            let folder = Arc::clone(&self.folder);
            tokio::task::spawn_blocking(move || prompts.iter().for_each(|prompt| folder.collected(prompt)));
        }
    }

    /// One measurement at a time, beside the engine's own thread.
    pub(super) fn measure_next(&mut self) {
        if self.measures {
            return;
        }
        let Some(Measuring { job, outputs, repair }) = self.measuring.pop_front() else { return };
        self.measures = true;
        let prompt_id = self.state.job(job).and_then(|j| j.attempt()).map(|a| a.prompt_id.clone()).unwrap_or_default();
        let (folder, events, measurer) = (Arc::clone(&self.folder), self.events.clone(), self.measurer.clone());
        tokio::spawn(async move {
            let seen = errands::blocking(move || {
                let mut looks = measurer.looks(&folder, &outputs);
                let repaired = if repair { measurer.mend_as_advised(&folder, &mut looks) } else { Vec::new() };
                (looks, repaired)
            });
            let seen = seen.await;
            let _ = events.send(Event::Measured { job, prompt_id, seen });
        });
    }

    /// Keeps what was seen together with the job's last step.
    pub(super) fn measured(&mut self, job: JobId, prompt_id: String, seen: Result<(Vec<Look>, Vec<Repaired>), String>) {
        self.measures = false;
        let (looks, repaired) = seen.unwrap_or_else(|why| {
            let measurement = Measurement { note: Some(why), ..Measurement::default() };
            (vec![Look { path: String::new(), measurement, curves: Curves::default() }], Vec::new())
        });
        let measurement = looks.first().map(|look| look.measurement.clone()).unwrap_or_default();
        self.pending.push(Effect::Write(Write::Looks { prompt_id, looks }));
        self.step(Input::Measured { job, measurement, repaired });
        self.measure_next();
    }
}
