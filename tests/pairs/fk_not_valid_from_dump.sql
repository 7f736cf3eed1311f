-- kinds: fk, graph, dump. A reference that old rows break comes as NOT VALID.
-- [source]
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int);
INSERT INTO a VALUES (1);
INSERT INTO b VALUES (1, 1), (2, 99), (3, NULL);
-- [desired]
CREATE TABLE public.a (id integer NOT NULL);
CREATE TABLE public.b (id integer NOT NULL, a integer);
ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.b ADD CONSTRAINT b_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.b ADD CONSTRAINT b_a_fk FOREIGN KEY (a) REFERENCES public.a(id) ON DELETE CASCADE NOT VALID;
-- [by hand]
SELECT 1;
