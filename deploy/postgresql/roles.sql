-- The role that workers log on with, and no more than they need. Run it once, after `probe worker --init`, as the tables' owner and in
-- their schema; run it again after each update. Change: the names of database and schema, and the password (\password submission_probe_worker).
--   psql -d probe -f roles.sql
do $$ begin create role submission_probe_worker login; exception when duplicate_object then null; end $$;

-- Before PostgreSQL 15 everybody may create tables in `public`.
revoke create on schema public from public;
grant usage on schema public to submission_probe_worker;

-- The key proves our messages: whoever may write it could have the probe delete other mail.
grant select on submission_probe_key to submission_probe_worker;
grant select, insert, update on submission_probe_mailbox to submission_probe_worker;
grant select, insert, delete on submission_probe_outbox, submission_probe_lost to submission_probe_worker;
grant select, insert, update on submission_probe_streak to submission_probe_worker;
grant select, insert, update, delete on submission_probe_refusal to submission_probe_worker;
grant select, insert, delete on submission_probe_run to submission_probe_worker;
grant select, insert, update, delete on submission_probe_shown to submission_probe_worker;

-- The queue (https://procrastinate.readthedocs.io/). Its functions run with the rights of who calls them.
grant select, insert, update, delete
    on procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers, procrastinate_workers to submission_probe_worker;
grant usage
    on sequence procrastinate_jobs_id_seq, procrastinate_events_id_seq, procrastinate_periodic_defers_id_seq,
    procrastinate_workers_id_seq
    to submission_probe_worker;
