CREATE TYPE public.mood AS ENUM ('sad', 'it''s over', 'ok', 'happy')
