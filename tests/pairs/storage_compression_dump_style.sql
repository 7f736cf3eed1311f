-- kinds: storage, compression, dump, rename. Written as pg_dump does, of renamed columns.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, "Big Text" text);
INSERT INTO t SELECT n, repeat(chr(n), 3000) FROM generate_series(65, 75) AS n;
-- [desired]
CREATE TABLE public.t (
    id integer NOT NULL,
    body text -- pcrd: renamed_from "Big Text"
);
ALTER TABLE ONLY public.t ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.t ALTER COLUMN body SET COMPRESSION pglz;
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);
-- [by hand]
ALTER TABLE t RENAME "Big Text" TO body;
