-- kinds: move, identity, index. A table with an identity column moves; sequence and index move with it.
-- [source]
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, kind text);
CREATE INDEX events_at_idx ON events USING brin (at);
INSERT INTO events (at, kind) SELECT timestamptz '2024-02-28 12:00+00' + n * interval '1 hour', 'k' || n % 3 FROM generate_series(1, 40) AS n;
INSERT INTO events (at, kind) VALUES ('infinity', ''), ('-infinity', NULL);
-- [desired]
CREATE SCHEMA audit;
-- pcrd: renamed_from public.events
CREATE TABLE audit.events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, kind text);
CREATE INDEX events_at_idx ON audit.events USING brin (at);
-- [by hand]
CREATE SCHEMA audit;
ALTER TABLE events SET SCHEMA audit;
