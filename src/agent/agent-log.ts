import { LeafkeeperError, messageOf } from '../errors.ts'
import type { Logger, LogLevel } from '../log/logger.ts'
import { packageVersion } from '../package-version.ts'
import type { DeviceAgentEvents } from './agent-events.ts'
import { listenTo, type ObservedAgent } from './observed-agent.ts'

/** One line, without what every line has. */
type Line = readonly [level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>]

type EventName = keyof DeviceAgentEvents
type Lines = {
  readonly [Name in EventName]: (agent: ObservedAgent, ...args: DeviceAgentEvents[Name]) => Line
}

/**
 * Every event of an agent as a log line. A message is the same text each time; what differs is in the fields, under the
 * names that the events have. Nothing is a line that could hold a secret: of an error its code, its reason and its
 * message, which may have none, but not its cause, which is somebody else's.
 */
const lines: Lines = {
  transition: (agent, move) => {
    const fields = { region: move.region, from: move.from, phase: move.to }
    const { connection } = agent.state
    if (move.to === 'halted')
      return [
        'error',
        'The agent has halted; only a person can help.',
        { ...fields, code: connection.phase === 'halted' ? connection.code : null, ...lastError(agent) },
      ]
    if (move.to === 'refused')
      return [
        'error',
        'Hub and DPS refuse the device; it keeps its keys and asks again slowly.',
        { ...fields, code: connection.phase === 'refused' ? connection.code : null, ...lastError(agent) },
      ]
    return ['debug', 'The agent has moved on.', fields]
  },
  connected: (_agent, { assignment, generation, thumbprint }) => [
    'info',
    'The device is connected.',
    { ...assignment, generation, thumbprint },
  ],
  disconnected: (_agent, error) => ['warn', 'The connection to the hub has ended.', errorFields(error)],
  unauthorized: (_agent, error) => ['warn', 'The hub has refused the credential.', errorFields(error)],
  registered: (_agent, { generation, assignment, substatus }) => [
    'info',
    'DPS has assigned the device to a hub.',
    { generation, ...assignment, substatus },
  ],
  staged: (_agent, { generation, thumbprint }) => [
    'info',
    'A new certificate is on the token and waits to be accepted.',
    { generation, thumbprint },
  ],
  rolled: (_agent, { notAfter, newThumbprint, ...report }) => [
    'info',
    'The certificate is rolled.',
    { ...report, thumbprint: newThumbprint, notAfter: notAfter.toISOString() },
  ],
  rollFailed: (_agent, { requestId, error }) => [
    'error',
    'The roll was given up; the certificate in use stays.',
    { requestId, ...errorFields(error) },
  ],
  retired: (_agent, { generation }) => ['info', 'An old key has left the token.', { generation }],
  problem: (_agent, { error, during }) => [
    error.retryable ? 'warn' : 'error',
    'Something has failed.',
    { during, ...errorFields(error) },
  ],
  retry: (_agent, { what, attempt, at, code }) => [
    'info',
    'It will be tried again.',
    { what, attempt, at: at.toISOString(), code },
  ],
  drain: () => ['debug', 'The outbox has room again.'],
  hsmCall: (_agent, { operation, durationMs, code }) => [
    'debug',
    'The token was called.',
    { operation, durationMs, code },
  ],
  stopped: () => ['info', 'The agent has stopped.'],
}

/** Writes a line for each event of an agent from now on, and one that it starts. */
export function logAgent(agent: ObservedAgent, logger: Logger): void {
  const { registrationId, token } = agent.status()
  const write = (event: string, [level, message, fields]: Line): void =>
    logger[level]({ event, registrationId, ...fields }, message)
  for (const name of Object.keys(lines) as EventName[])
    listenTo(agent, name, (...args) => write(name, lineOf(agent, name, args)))
  const { module, label, serial } = token
  write('started', ['info', 'The agent starts.', { version: packageVersion(), module, label, serial }])
}

function lineOf<Name extends EventName>(
  agent: ObservedAgent,
  name: Name,
  args: DeviceAgentEvents[Name],
): Line {
  return lines[name](agent, ...args)
}

/** An agent that could not be started has no events, and its process may end without a word. */
export function logStartFailure(logger: Logger, registrationId: string, error: unknown): void {
  logger.error(
    { event: 'startFailed', registrationId, ...errorFields(error) },
    'The agent could not be started.',
  )
}

function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof LeafkeeperError)) return { code: null, error: messageOf(error) }
  const { code, reason, retryable, retryAfterMs, message } = error
  return { code, reason, retryable, retryAfterMs, error: message }
}

function lastError(agent: ObservedAgent): { error: string } | undefined {
  const { lastError: last } = agent.status()
  return last === null ? undefined : { error: last.message }
}
