-- kinds: sequence, dump, default. A sequence of one's own with every option, written as pg_dump does.
-- [source]
CREATE SEQUENCE ids START 5 INCREMENT 5;
CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('ids'), v text);
ALTER SEQUENCE ids OWNED BY t.id;
INSERT INTO t (v) SELECT 'v' FROM generate_series(1, 10) AS n;
-- [desired]
CREATE SEQUENCE public.ids
    AS bigint
    START WITH 10
    INCREMENT BY 10
    MINVALUE 2
    MAXVALUE 9000000000
    CACHE 7
    CYCLE;
CREATE TABLE public.t (id bigint DEFAULT nextval('public.ids'::regclass) NOT NULL, v text);
ALTER SEQUENCE public.ids OWNED BY public.t.id;
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (id);
-- [by hand]
ALTER TABLE t ALTER id TYPE bigint;
