/** What the server sends when a part of the page has changed. */
interface Part {
  readonly id: string
  readonly html: string
}

const path = document.body.dataset['live'] ?? ''
if (path !== '') follow(path)

/** Puts what has changed into the page, as long as it is open. The server has escaped all of it. */
function follow(source: string): void {
  const events = new EventSource(source)
  const status = document.getElementById('connection')
  const say = (text: string): void => {
    if (status !== null && status.textContent !== text) status.textContent = text
  }
  events.addEventListener('open', () => say('live'))
  events.addEventListener('error', () => say('not live: the simulator does not answer'))
  events.addEventListener('gone', () => {
    events.close()
    say('this is no longer there')
  })
  events.addEventListener('part', ({ data }: MessageEvent<string>) => replace(JSON.parse(data) as Part))
}

/** Whoever stands on a button by the keyboard goes on standing there. */
function replace({ id, html }: Part): void {
  const part = document.getElementById(id)
  if (part === null) return
  const focused = document.activeElement
  const focusedId = focused !== null && part.contains(focused) ? focused.id : ''
  part.innerHTML = html
  if (focusedId !== '') document.getElementById(focusedId)?.focus()
}

export {}
