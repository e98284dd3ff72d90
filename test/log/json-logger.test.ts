import { describe, expect, it } from 'vitest'
import { jsonLogger, type LogLevel } from 'leafkeeper'

describe('the logger without a library', () => {
  it('writes one JSON object a line', () => {
    const written: string[] = []
    const logger = jsonLogger({ write: (line) => void written.push(line), now: () => 0 })
    logger.warn({ event: 'problem', code: 'HUB_UNAVAILABLE', text: 'two\nlines' }, 'Something has failed.')
    expect(written).toEqual([
      '{"level":"warn","time":"1970-01-01T00:00:00.000Z","event":"problem","code":"HUB_UNAVAILABLE","text":"two\\nlines","msg":"Something has failed."}\n',
    ])
  })

  it.each<[LogLevel, string]>([
    ['debug', 'debug info warn error'],
    ['info', 'info warn error'],
    ['warn', 'warn error'],
    ['error', 'error'],
  ])('at level %s writes %s', (level, expected) => {
    const written: string[] = []
    const write = (line: string): void => void written.push((JSON.parse(line) as { level: string }).level)
    const logger = jsonLogger({ level, write })
    for (const each of ['debug', 'info', 'warn', 'error'] as const) logger[each]({}, 'x')
    expect(written.join(' ')).toBe(expected)
  })
})
