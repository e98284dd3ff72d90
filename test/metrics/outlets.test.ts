import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createMetrics, LeafkeeperError, serveMetrics, writeMetrics, type Clock } from 'leafkeeper'
import { temporaryFolder } from '../support/temporary-folder.ts'

async function failing(): ReturnType<typeof createMetrics> {
  const metrics = await createMetrics()
  metrics.startFailed('device-o', new LeafkeeperError('HSM_PIN_MISSING'))
  return metrics
}

describe('metrics over HTTP', () => {
  it('are at /metrics of the loopback address alone, for GET alone', async () => {
    const metrics = await failing()
    const server = await serveMetrics(metrics, { port: 0 })
    onTestFinished(() => server.close())
    expect(server.url).toBe(`http://127.0.0.1:${server.port}/metrics`)
    const answer = await fetch(server.url)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(await answer.text()).toBe(await metrics.text())
    const statuses = [
      await fetch(server.url, { method: 'POST' }),
      await fetch(server.url, { method: 'HEAD' }),
      await fetch(`http://127.0.0.1:${server.port}/`),
    ].map(({ status }) => status)
    expect(statuses).toEqual([405, 405, 404])
    await server.close()
    await expect(fetch(server.url)).rejects.toThrow()
  })

  it('are not served on a port that another has', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void other.close())
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    await expect(serveMetrics(await createMetrics(), { port })).rejects.toMatchObject({
      code: 'AGENT_CONFIG_INVALID',
      message: expect.stringContaining(`port ${port} of 127.0.0.1`) as unknown,
    })
  })
})

/** A clock whose one alarm is rung by hand. */
function handClock(): Clock & { ring(): void; readonly asked: Promise<number> } {
  let alarm = (): void => undefined
  let tell: (instant: number) => void = () => undefined
  let asked = new Promise<number>((resolve) => (tell = resolve))
  return {
    now: () => 0,
    wakeAt(instant, wake) {
      alarm = wake
      tell(instant)
      return () => undefined
    },
    ring() {
      asked = new Promise<number>((resolve) => (tell = resolve))
      alarm()
    },
    get asked() {
      return asked
    },
  }
}

describe('metrics in a file', () => {
  it('are written at once, at the interval, and at the end, each time as a whole', async () => {
    const folder = await temporaryFolder()
    const file = join(folder, 'leafkeeper.prom')
    const metrics = await failing()
    const clock = handClock()
    const umask = process.umask(0o077)
    onTestFinished(() => void process.umask(umask))
    const written = await writeMetrics(metrics, { file, intervalMs: 5_000, clock })
    const first = await stat(file)
    expect(first.mode & 0o777).toBe(0o644)
    expect(await readFile(file, 'utf8')).toBe(await metrics.text())
    expect(await clock.asked).toBe(5_000)

    metrics.startFailed('device-o', new LeafkeeperError('HSM_PIN_MISSING'))
    clock.ring()
    await clock.asked
    expect(await readFile(file, 'utf8')).toContain('code="HSM_PIN_MISSING"} 2')
    // Renamed over the old one, not written into it.
    expect((await stat(file)).ino).not.toBe(first.ino)

    metrics.startFailed('device-o', new LeafkeeperError('HSM_PIN_LOCKED'))
    await written.close()
    expect(await readFile(file, 'utf8')).toContain('HSM_PIN_LOCKED')
    expect(await readdir(folder)).toEqual(['leafkeeper.prom'])
  })

  it('tell of a disk that takes nothing, and go on', async () => {
    const folder = await temporaryFolder()
    const file = join(folder, 'leafkeeper.prom')
    let ready = true
    const inner = await failing()
    const metrics = {
      ...inner,
      contentType: inner.contentType,
      watch: () => undefined,
      startFailed: () => undefined,
      text: () => (ready ? inner.text() : Promise.reject(new Error('ENOSPC'))),
    }
    const errors: LeafkeeperError[] = []
    const clock = handClock()
    const written = await writeMetrics(metrics, { file, clock, failed: (error) => errors.push(error) })
    ready = false
    clock.ring()
    await clock.asked
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining('ENOSPC')])
    expect(await readFile(file, 'utf8')).toBe(await inner.text())
    expect(await readdir(folder)).toEqual(['leafkeeper.prom'])
    ready = true
    await written.close()
    expect(errors).toHaveLength(1)
  })

  it.each([
    ['leafkeeper.txt', 15_000, 'to end in .prom'],
    ['leafkeeper.prom', 5, 'intervalMs'],
    ['missing/leafkeeper.prom', 15_000, 'cannot be written'],
  ])('are not written to %s every %i ms', async (name, intervalMs, message) => {
    const file = join(await temporaryFolder(), name)
    await expect(writeMetrics(await createMetrics(), { file, intervalMs })).rejects.toMatchObject({
      code: 'AGENT_CONFIG_INVALID',
      message: expect.stringContaining(message) as unknown,
    })
  })
})
