-- wrk's script. Its argument is a file with the bodies of POSTs, one a line: a single one is sent over and over, several are sent once each.
-- Prints one line of JSON at the end: what was counted, and how many bodies were sent.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  sent = 0
  if not arguments[1] then return end
  wrk.method = "POST"
  bodies = {}
  for line in io.lines(arguments[1]) do table.insert(bodies, line) end
  if #bodies == 1 then wrk.body = bodies[1] end
  if #bodies > 1 then
    request = function()
      -- wrk asks for one request to see whether it is well-formed, and throws it away; past the end the last one is repeated.
      local body = bodies[math.max(1, math.min(sent, #bodies))]
      sent = sent + 1
      return wrk.format(nil, nil, nil, body)
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "lost": %d, "sent": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout, threads[1]:get("sent") or 0))
end
