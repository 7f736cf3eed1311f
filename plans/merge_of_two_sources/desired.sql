-- pcrd: merged_from users with kind = 'user'
-- pcrd: merged_from agents with kind = 'agent'
CREATE TABLE people (
  kind text NOT NULL,
  id bigserial,
  email varchar(255) NOT NULL,
  full_name text CHECK (full_name <> ''), -- pcrd: renamed_from name
  -- The agents have none.
  active boolean DEFAULT true NOT NULL,
  created_at timestamp DEFAULT now() NOT NULL,
  seen_at timestamptz DEFAULT now(),
  PRIMARY KEY (kind, id),
  UNIQUE (kind, email)
);
