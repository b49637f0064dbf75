//! Jobs whose server is called something else now, or is nowhere; files that are opened again; what holds a job up.

use super::*;

fn seat(name: &str, url: &str) -> ServerSeat {
    ServerSeat { name: name.to_owned(), url: url.to_owned(), in_flight: 2 }
}

/// The engine starts again, with another config.
fn restarted(world: &World, seat: ServerSeat) -> (World, Vec<Effect>) {
    let jobs = (1..).map_while(|id| world.state.job(JobId(id)).cloned()).collect();
    let remembered = Remembered { jobs, ..Remembered::default() };
    let mut state = State::new(Policy::default(), EngineRow::default(), vec![seat], remembered, 2, world.now);
    let effects = state.recover(world.now);
    (World { state, now: world.now, asked: None }, effects)
}

fn row(world: &mut World, id: u64) -> comfytop::protocol::JobRow {
    let now = world.now;
    world.state.job_row(JobId(id), now).unwrap()
}

#[test]
fn a_server_may_get_a_name_while_it_renders() {
    let (mut world, _) = World::up(2, 1);
    world.accept(1);
    world.begin(1);
    let (mut again, _) = restarted(&world, seat("rtx4070", "s"));
    let effects = again.step(Input::Up { server: 0, about: About::default() });
    assert_eq!(looks(&effects), [(First::Nothing, vec![1])], "it is asked of the server at its address");
    let prompt = again.prompt(1);
    again.hear(Heard::Rendered { prompt: prompt.clone() });
    assert_eq!(collects(&again.hear(Heard::Last { prompt })), [(1, false)]);
}

#[test]
fn a_server_may_move_and_keep_its_name() {
    let (mut world, _) = World::up(2, 1);
    world.accept(1);
    let (mut again, _) = restarted(&world, seat("s", "other:8188"));
    let effects = again.step(Input::Up { server: 0, about: About::default() });
    assert_eq!(looks(&effects), [(First::Nothing, vec![1])]);
}

#[test]
fn a_job_whose_server_is_not_in_the_config_says_so() {
    let (mut world, _) = World::up(2, 1);
    world.accept(1);
    world.begin(1);
    let (mut again, effects) = restarted(&world, seat("b", "b:8188"));
    let told = effects.iter().any(|e| match e {
        Effect::Publish(update) => {
            matches!(&**update, comfytop::protocol::Update::Notice(n) if n.text.contains("#1") && n.text.contains("not in the config"))
        }
        _ => false,
    });
    assert!(told, "{effects:?}");
    let trouble = row(&mut again, 1).trouble.unwrap();
    assert!(trouble.starts_with("its server s is not in the config"), "{trouble}");
    again.ask(Request::Cancel { jobs: vec![JobId(1)] });
    again.ask(Request::Requeue { jobs: vec![JobId(1)], new_seed: false });
    assert_eq!((again.word(1), row(&mut again, 1).trouble), ("queued", None));
}

#[test]
fn what_keeps_files_from_being_fetched_is_said_once_and_shown_until_they_are() {
    let (mut world, _) = World::up(2, 1);
    world.accept(1);
    world.begin(1);
    let prompt_id = world.prompt(1);
    world.hear(Heard::Rendered { prompt: prompt_id.clone() });
    world.hear(Heard::Last { prompt: prompt_id.clone() });
    let later = |world: &mut World, why: &str| {
        let (prompt_id, result) = (world.prompt(1), Err(CollectFailure::Later(why.to_owned())));
        let effects = world.step(Input::Collected { job: JobId(1), prompt_id, result });
        let notice =
            |e: &&Effect| matches!(e, Effect::Publish(u) if matches!(**u, comfytop::protocol::Update::Notice(_)));
        effects.iter().filter(notice).count()
    };
    assert_eq!(later(&mut world, "outputs: permission denied"), 1);
    assert_eq!(row(&mut world, 1).trouble.as_deref(), Some("can't be fetched yet: outputs: permission denied"));
    world.wait(6);
    assert_eq!(later(&mut world, "outputs: permission denied"), 0, "once is enough");
    world.wait(6);
    world.step(Input::Collected { job: JobId(1), prompt_id, result: Ok(clip()) });
    assert_eq!((world.word(1), row(&mut world, 1).trouble), ("measuring", None));
}

#[test]
fn a_requeued_job_opens_its_file_again() {
    let (mut world, _) = World::up(2, 1);
    world.ask(Request::Cancel { jobs: vec![JobId(1)] });
    world.posted(1, PostResult::NotSent("cut".to_owned()));
    assert_eq!(world.word(1), "cancelled");
    let effects = world.ask(Request::Requeue { jobs: vec![JobId(1)], new_seed: false });
    let reopens = |e: &&Effect| matches!(e, Effect::ReopenFile { file: 1 });
    assert_eq!(effects.iter().filter(reopens).count(), 1);
    assert!(effects.iter().any(|e| matches!(e, Effect::Write(Write::FilePlace { file: 1, .. }))), "written first");
    world.step(Input::Reopened { file: OpenFile { id: 1, name: "1.json".to_owned(), jobs: vec![JobId(1)] } });
    world.ask(Request::Cancel { jobs: vec![JobId(1)] });
    let effects = world.posted(1, PostResult::NotSent("cut".to_owned()));
    assert!(effects.iter().any(|e| matches!(e, Effect::FinishFile { .. })), "its end is told anew: {effects:?}");
}

#[test]
fn a_twin_is_known_though_an_earlier_one_was_cancelled() {
    let mut world = World::with(2);
    let twin = |world: &mut World, id: u64| {
        let file = OpenFile { id, name: format!("{id}.json"), jobs: vec![JobId(id)] };
        world.step(Input::Taken { file, jobs: vec![Job { fingerprint: Some("same".to_owned()), ..job(id) }] });
    };
    twin(&mut world, 1);
    assert_eq!(world.state.same_as("same"), Some(JobId(1)));
    world.ask(Request::Cancel { jobs: vec![JobId(1)] });
    assert_eq!(world.state.same_as("same"), None);
    twin(&mut world, 2);
    assert_eq!(world.state.same_as("same"), Some(JobId(2)));
    world.ask(Request::Cancel { jobs: vec![JobId(2)] });
    world.ask(Request::Requeue { jobs: vec![JobId(1)], new_seed: false });
    assert_eq!(world.state.same_as("same"), Some(JobId(1)), "one that comes back counts again");
}
