-- kinds: collation, dump, default, widen. pg_dump writes COLLATE behind the default.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, a varchar(10) DEFAULT 'x' COLLATE "C");
INSERT INTO t VALUES (1, 'ß'), (2, NULL);
-- [desired]
CREATE TABLE public.t (
    id integer NOT NULL,
    a character varying(30) DEFAULT 'y'::character varying COLLATE pg_catalog."POSIX"
);
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);
-- [by hand]
ALTER TABLE t ALTER a TYPE varchar(30);
