/** One sample of Prometheus' text format. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|[-+]?[0-9.]+(?:e[-+]?[0-9]+)?)$/
const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/gy

/**
 * Reads Prometheus' text format (version 0.0.4) and refuses what the format or promtool does not allow: a sample
 * without HELP and TYPE before it, families that are not in one piece, the same sample twice, a name without its unit
 * or a counter without `_total`.
 */
export function readExposition(text: string): Sample[] {
  if (!text.endsWith('\n')) throw new Error('The last line does not end.')
  const samples: Sample[] = []
  const seen = new Set<string>()
  const types = new Map<string, string>()
  let family = ''
  let helped = ''
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const [mark, kind, name = '', ...rest] = line.split(' ')
    if (mark === '#') {
      if (kind === 'HELP' && rest.length > 0 && !types.has(name)) helped = name
      else if (kind === 'TYPE' && helped === name && !types.has(name)) {
        family = name
        types.set(name, rest.join(' '))
        requireConvention(name, rest.join(' '))
      } else throw new Error(`Out of order: ${line}`)
      continue
    }
    const [, sample = '', labels = '', value = ''] = sampleLine.exec(line) ?? []
    if (sample === '') throw new Error(`Not a sample: ${line}`)
    const suffix = types.get(family) === 'histogram' ? /_(bucket|sum|count)$/ : /$^/
    if (sample.replace(suffix, '') !== family) throw new Error(`Outside of its family ${family}: ${line}`)
    const identity = `${sample}{${labels}}`
    if (seen.has(identity)) throw new Error(`Twice: ${line}`)
    seen.add(identity)
    samples.push({
      name: sample,
      labels: readLabels(labels),
      value: Number(value.replace('Inf', 'Infinity')),
    })
  }
  return samples
}

function readLabels(text: string): Record<string, string> {
  const found = [...text.matchAll(label)]
  if (found.map(([whole]) => whole).join('') !== text) throw new Error(`Not labels: {${text}}`)
  return Object.fromEntries(found.map(([, name = '', value = '']) => [name, value]))
}

function requireConvention(name: string, type: string): void {
  if (type === 'counter' && !name.endsWith('_total')) throw new Error(`A counter without _total: ${name}`)
  if (type !== 'counter' && name.endsWith('_total')) throw new Error(`No counter, but ${name}`)
  if (/duration|blackout|expires|timestamp/.test(name) && !name.endsWith('_seconds'))
    throw new Error(`Without its unit: ${name}`)
}
