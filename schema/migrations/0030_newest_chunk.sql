-- The newest chunk when words were counted: where another is the newest, or their number is another, a small corpus is
-- counted anew, so that its scores do not tell in which order its documents came.

alter table corpus add column newest_chunk bigint;
