-- kinds: split, move, sequence, serial. The same name in two schemas, and one sequence that both go on using.
-- [source]
CREATE SCHEMA live;
CREATE TABLE live.jobs (id serial PRIMARY KEY, done boolean, payload text COLLATE "C");
CREATE INDEX jobs_payload ON live.jobs (payload);
INSERT INTO live.jobs (done, payload) SELECT CASE g % 3 WHEN 0 THEN true WHEN 1 THEN false END, 'p' || g FROM generate_series(1, 50) AS g;
-- [desired]
CREATE SCHEMA live;
CREATE SCHEMA past;
-- pcrd: where done IS NOT TRUE
CREATE TABLE live.jobs (id serial PRIMARY KEY, done boolean, payload text COLLATE "C");
CREATE INDEX jobs_payload ON live.jobs (payload);
-- pcrd: renamed_from live.jobs
-- pcrd: where done
CREATE TABLE past.jobs (id int DEFAULT nextval('live.jobs_id_seq') PRIMARY KEY, done boolean, payload text COLLATE "C");
CREATE INDEX jobs_payload ON past.jobs (payload);
-- [by hand]
CREATE SCHEMA past;
CREATE TABLE past.jobs AS SELECT * FROM live.jobs WHERE done;
DELETE FROM live.jobs WHERE done;
