-- How far each history of a broker was taken in: the highest number that anybody ever told. A history's
-- name holds its stream's birth, so a row is never right for another; rows of streams that are gone stay.

create table floors (
        history blob not null primary key check (length(history) between 1 and 255),
        floor   integer not null check (floor > 0)
) without rowid;
