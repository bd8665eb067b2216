-- Leases a number. KEYS: its lease, and how long leases last here. ARGV: a token, that time in ms, the owner.
-- Answers what came of it, and for LATER in how many ms, for OTHERS for how long.
local LEASED, TAKEN, LATER, OTHERS = 0, 1, 2, 3
local token, lives = ARGV[1], tonumber(ARGV[2])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- What it has forgotten by a restart has ended for its holders, too, when this is over. Both of the whole seconds that
-- its uptime is the difference of are rounded down: so it may have started up to one later.
local up = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%-?%d+)'))
local later = (tonumber(time[1]) - up + 1) * 1000 + lives - now
if later > 0 then
    return {LATER, later}
end

-- Of a longer time than this, the above would be too early.
local others = redis.pcall('GET', KEYS[2])
others = type(others) == 'string' and tonumber(others)
if others and others ~= lives then
    return {OTHERS, others}
end

local lease = token .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[3]
if not redis.call('SET', KEYS[1], lease, 'NX', 'PX', lives) then
    -- One that has asked before, and did not hear the answer.
    if redis.pcall('GETRANGE', KEYS[1], 0, 15) ~= token then
        return {TAKEN, 0}
    end
    redis.call('PEXPIRE', KEYS[1], lives)
end
redis.call('SET', KEYS[2], lives, 'PX', lives)
return {LEASED, 0}
