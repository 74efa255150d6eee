-- Which node has taken which attempt of which job to itself, and until when. Operational: nothing
-- is lost with it, and no rebuild touches it. A short run never has a row here: until a first
-- heartbeat its lease is the one that its Started event tells.
create table operational.leases (
    job_id  text primary key,
    attempt integer not null,
    node    text not null,
    until   timestamptz not null
);
alter table operational.leases owner to toolroom_app;
