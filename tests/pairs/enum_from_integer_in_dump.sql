-- kinds: enum, dump, using, not_null. Numbers become labels, in a file as pg_dump writes it.
-- [source]
CREATE TYPE level AS ENUM ('none', 'some', 'all');
CREATE TABLE t (id int PRIMARY KEY, level smallint);
INSERT INTO t VALUES (1, 0), (2, 1), (3, 2), (4, NULL);
-- [desired]
CREATE TYPE public.level AS ENUM (
    'none',
    'some',
    'all'
);
CREATE TABLE public.t (
    id integer NOT NULL,
    level public.level DEFAULT 'none'::public.level NOT NULL -- pcrd: using (ARRAY['none','some','all'])[coalesce(level, 0) + 1]
);
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);
-- [by hand]
ALTER TABLE t ALTER level TYPE level USING ((ARRAY['none','some','all'])[coalesce(level, 0) + 1])::level;
