// The extension that posts messages to Slack.
(function (host, need, js) {
  'use strict';
  const { text, stringify, parse } = js;
  const { stateOf, member, defineClass, make, classes } = need('base');
  const { fail, send } = need('extension');

  // As in the original, failures are only logged. The proxy is that of the unit.
  const SLACK_URL = 'https://slack.com/api/chat.postMessage';
  const postMessage = (messenger, message, channel) => {
    const state = stateOf(messenger, 'slack');
    if (state.token === null) {
      host.log('warn', 'Slack: no token is set');
      return;
    }
    const body = stringify({ __proto__: null, channel: channel === undefined || channel === null ? state.channel : text(channel), text: text(message) });
    const headers = { __proto__: null, authorization: 'Bearer ' + state.token, 'content-type': 'application/json; charset=utf-8' };
    try {
      const answer = send('POST', SLACK_URL, { __proto__: null, headers: headers, body: body });
      const accepted = answer.status === 200 && member(parse(answer.body), 'ok') === true;
      if (!accepted) host.log('warn', 'Slack: the message was refused with status ' + text(answer.status));
    } catch (error) {
      host.log('warn', 'Slack: ' + text(error.message));
    }
  };
  defineClass('Slack', null, {
    setConfig(token, channel, proxy) {
      const state = stateOf(this, 'slack');
      if (token !== undefined && token !== null) state.token = text(token);
      state.channel = channel ? text(channel) : 'general';
      if (proxy !== undefined && proxy !== null) host.log('warn', 'Slack: requests go through the proxy of the unit, if it has one');
    },
    sendMessage(message) {
      postMessage(this, message);
    },
    sendMessageToChannel(message, channel) {
      postMessage(this, message, channel);
    },
    sendMessageToUser(message, user) {
      postMessage(this, message, '@' + text(user));
    },
  });
  const Slack = function () {
    if (new.target === undefined) fail('Slack is a constructor');
    return make('Slack', { family: 'slack', token: null, channel: 'general' });
  };
  Slack.prototype = classes.Slack.proto;

  return { __proto__: null, Slack };
})
