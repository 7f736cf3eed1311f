-- kinds: options, dump, not_null. Written as pg_dump does, with quoted numbers.
-- [source]
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, ''), (2, 'x');
-- [desired]
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
SET default_table_access_method = heap;
CREATE TABLE public.t (
    id integer NOT NULL,
    v text NOT NULL
)
WITH (fillfactor='70', autovacuum_enabled='true');
ALTER TABLE ONLY public.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (id);
-- [by hand]
SELECT 1;
