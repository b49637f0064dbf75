//! What strikes from outside: deaths, cut lines, strangers, people with second thoughts, a clock that jumps.

use comfytop::job::JobId;
use comfytop::protocol::{MoveTo, NewPriority, Request as Ask};
use comfytop::sim::Request;
use serde_json::json;

use super::world::{Event, Havoc, World};

impl World {
    fn any_server(&mut self) -> usize {
        self.rng.usize(0..self.servers.len())
    }

    fn any_job(&mut self) -> Option<JobId> {
        let jobs: Vec<_> = self.taken.keys().copied().collect();
        self.rng.choice(jobs)
    }

    pub fn kill_server(&mut self, server: usize) {
        let half_open = self.rng.f64() < self.chances.half_open;
        // Some stand up again at once, most after a while.
        let rest = if self.rng.bool() { self.rng.u64(10..2000) } else { self.rng.u64(2000..120_000) };
        let heard_after = self.rng.u64(1..3000);
        let listens = self.engine.as_ref().is_some_and(|engine| engine.conns[server].listens);
        if half_open || heard_after >= rest || !listens {
            // The next POST may reach the new process before anybody knows that there is one.
            for prompt in self.oracle.waiting(server) {
                self.overtaken(&prompt);
            }
        }
        let (waiting, sockets) = self.servers[server].kill();
        self.oracle.server_died(server);
        for (life, id) in waiting {
            let after = self.rng.u64(1..200);
            self.at(after, Event::Answer { life, id, answer: Err(super::errands::Trouble::Cut) });
        }
        let life = self.lives;
        for socket in sockets {
            let ours = self.engine.as_mut().map(|engine| &mut engine.conns[server]);
            if let Some(conn) = ours.filter(|conn| conn.socket == Some(socket) && half_open) {
                conn.half_open = true;
                continue;
            }
            self.at(heard_after, Event::SocketEnd { life, server, socket });
        }
        self.at(rest, Event::ServerUp { server });
    }

    #[expect(clippy::too_many_lines, reason = "one arm a kind of havoc")]
    pub fn havoc(&mut self, havoc: Havoc) {
        match havoc {
            Havoc::KillEngine => {
                let points = self.rng.u32(0..12);
                if points == 0 {
                    self.compare();
                    self.kill_engine();
                } else if let Some(engine) = &mut self.engine {
                    engine.doomed = Some(points);
                }
            }
            Havoc::KillServer => {
                let server = self.any_server();
                self.kill_server(server);
            }
            Havoc::KillBoth => {
                let server = self.any_server();
                self.kill_engine();
                self.kill_server(server);
            }
            Havoc::CutSockets => {
                let server = self.any_server();
                let life = self.lives;
                for socket in self.servers[server].sockets.clone() {
                    let said = self.servers[server].close(socket, self.now);
                    self.said(server, said);
                    self.at(30, Event::SocketEnd { life, server, socket });
                }
            }
            Havoc::Deaf | Havoc::Twin => {
                let server = self.any_server();
                if !self.servers[server].is_alive() {
                    return;
                }
                let (socket, client_id) = (self.new_socket(), self.client_id(server));
                let said = self.servers[server].open(socket, &client_id, self.now);
                self.said(server, said);
                let stay = if matches!(havoc, Havoc::Deaf) { 1 } else { self.rng.u64(1000..900_000) };
                self.at(stay, Event::Havoc(Havoc::TwinLeaves(server, socket)));
            }
            Havoc::TwinLeaves(server, socket) => {
                let said = self.servers[server].close(socket, self.now);
                self.said(server, said);
            }
            Havoc::Partition => {
                let server = self.any_server();
                self.servers[server].cut_off_until = self.now + self.rng.u64(500..180_000);
            }
            Havoc::Stranger => {
                let server = self.any_server();
                let prompt = self.stranger_prompt();
                self.stranger_asks(server, prompt);
            }
            Havoc::Meddle => self.meddle(),
            Havoc::Cancel => {
                let Some(job) = self.any_job() else { return };
                let mut jobs = vec![job];
                if self.rng.bool() {
                    jobs.extend(self.any_job());
                }
                for job in &jobs {
                    if let Some(story) = self.story(*job) {
                        story.cancel_asked = true;
                    }
                }
                self.ask(Ask::Cancel { jobs });
            }
            Havoc::Hold => {
                let Some(job) = self.any_job() else { return };
                if let Some(story) = self.story(job) {
                    story.touched = true;
                }
                self.ask(Ask::Hold { jobs: vec![job] });
            }
            Havoc::Release => {
                if let Some(job) = self.any_job() {
                    self.ask(Ask::Release { jobs: vec![job] });
                }
            }
            Havoc::Pause => {
                let whole = self.rng.bool();
                let server = self.any_server();
                let servers = if whole { Vec::new() } else { vec![format!("s{server}")] };
                let ask = if self.rng.bool() { Ask::Pause { servers } } else { Ask::Drain { servers } };
                self.ask(ask);
            }
            Havoc::Resume => {
                let servers = if self.rng.bool() { Vec::new() } else { vec![format!("s{}", self.any_server())] };
                self.ask(Ask::Resume { servers });
            }
            Havoc::Move => {
                let (Some(job), Some(mark)) = (self.any_job(), self.any_job()) else { return };
                if let Some(story) = self.story(job) {
                    story.touched = true;
                }
                let jobs = vec![job];
                let to = match self.rng.u8(0..6) {
                    0 => MoveTo::Top,
                    1 => MoveTo::Bottom,
                    2 => MoveTo::Up,
                    3 => MoveTo::Down,
                    4 => MoveTo::Before(mark),
                    _ => {
                        let priority = NewPriority::By(self.rng.i64(-2..3));
                        return self.ask(Ask::Priority { jobs, priority });
                    }
                };
                self.ask(Ask::Move { jobs, to });
            }
            Havoc::Requeue => {
                let Some(job) = self.any_job() else { return };
                let ended = |engine: &super::engine::Engine| engine.state.job(job).is_some_and(|j| j.state.is_ended());
                if !self.engine.as_ref().is_some_and(ended) {
                    return;
                }
                if let Some(story) = self.story(job) {
                    story.requeues += 1;
                    story.confirmed = None;
                }
                self.ask(Ask::Requeue { jobs: vec![job], new_seed: false });
            }
            Havoc::DiskFull => self.disk.full_until = self.now + self.rng.u64(500..300_000),
            Havoc::Stop => self.ask(Ask::Stop),
            Havoc::Reconnect => self.ask(Ask::Reconnect),
            Havoc::ClockJump => {
                let far = if self.rng.bool() { 5_000 } else { 26 * 3_600_000 };
                let jump = self.rng.i64(-far..far);
                self.skew_clock(jump);
            }
            Havoc::Sleep => {
                let long = self.rng.u64(20_000..6 * 3_600_000);
                self.sleep(long);
            }
        }
    }

    /// A person at the server's own page.
    fn meddle(&mut self) {
        let server = self.any_server();
        let (running, waiting, ended) = (self.oracle.running(server), self.oracle.waiting(server), self.oracle.ended());
        let request = match self.rng.u8(0..3) {
            0 => {
                let Some(prompt) = self.rng.choice(waiting) else { return };
                self.meddled(&prompt);
                Request::PostQueue(Some(json!({ "delete": [prompt] })))
            }
            1 => {
                if let Some(prompt) = running {
                    self.meddled(&prompt);
                }
                Request::Interrupt(None)
            }
            _ => Request::PostHistory(Some(json!({ "delete": ended }))),
        };
        self.stranger_asks(server, request);
    }

    fn overtaken(&mut self, prompt: &str) {
        if let Some(job) = self.oracle.job_of(prompt).map(str::to_owned)
            && let Some(story) = self.oracle.stories.get_mut(&job)
        {
            story.touched = true;
        }
    }

    fn meddled(&mut self, prompt: &str) {
        if let Some(job) = self.oracle.job_of(prompt).map(str::to_owned)
            && let Some(story) = self.oracle.stories.get_mut(&job)
        {
            story.meddled = true;
            story.touched = true;
        }
    }
}
